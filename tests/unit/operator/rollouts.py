"""A small world to try rollouts in: a clock, crews that come and go, and writes that may stop after any of them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.resources.v1alpha1.rollout import Rollout as RolloutSpec
from herald_contracts.rollout import Rollout
from herald_operator.build.context import Context, DefaultImages
from herald_operator.build.history import Revision, from_object, to_object
from herald_operator.build.naming import Object
from herald_operator.build.shape import Shape, shape
from herald_operator.planning.rollout import Commands, Crew, Decision, Seen, decide

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
IMAGES = DefaultImages(
    gateway="herald-gateway:1",
    agent="herald-agent:1",
    inference_cpu="herald-inference:1",
    inference_gpu="triton-trtllm:1",
    nats="nats:1",
    postgres="postgres:1",
    milvus="milvus:1",
)


def deployment(instructions: str) -> AgentDeployment:
    spec = {
        "instructions": instructions,
        "channels": [{"name": "web", "web": {}}],
        "inference": {"model": "scripted"},
    }
    document = {"apiVersion": "herald.dev/v1alpha1", "kind": "AgentDeployment", "metadata": {"name": "support"}}
    return AgentDeployment.model_validate({**document, "spec": spec})


CONTEXT = Context(deployment("Be kind."), "uid-1", IMAGES)


def shape_of(name: str) -> Shape:
    """Revisions are told apart by their instructions; here by nothing else."""
    return shape(deployment(name), IMAGES)


def spec(*, auto: bool = True, deadline: int = 600, delay: int = 30, keep: int = 3) -> RolloutSpec:
    return RolloutSpec(
        auto_promote=auto,
        progress_deadline_seconds=deadline,
        scale_down_delay_seconds=delay,
        revision_history_limit=keep,
    )


@dataclass
class World:
    """The state outside the operator. `step` is one pass of it."""

    wanted: str = "A"
    spec: RolloutSpec = field(default_factory=spec)
    now: datetime = START
    record: Rollout | None = None
    known: bool = True
    commands: Commands = field(default_factory=Commands)
    stored: dict[str, Object] = field(default_factory=dict)
    crews: dict[str, bool] = field(default_factory=dict)
    unready: set[str] = field(default_factory=set)
    switches: list[tuple[str, str]] = field(default_factory=list)

    @property
    def active(self) -> str:
        return self.record.active if self.record is not None else ""

    @property
    def revisions(self) -> dict[str, Revision]:
        read = (from_object(body) for body in self.stored.values())
        return {r.name: r for r in read if r is not None}

    def outcome(self, name: str) -> str:
        return self.revisions[name].outcome

    def later(self, seconds: float) -> "World":
        self.now += timedelta(seconds=seconds)
        return self

    def seen(self) -> Seen:
        revisions = self.revisions
        return Seen(
            wanted=self.wanted,
            shape=shape_of(self.wanted),
            spec=self.spec,
            now=self.now,
            revisions=revisions,
            # Who cannot ask NATS knows no record either.
            record=self.record if self.known else None,
            known=self.known,
            crews={name: Crew(well, "" if well else "0 of 2 are there") for name, well in self.crews.items()},
            ready=frozenset({*revisions, self.wanted} - self.unready),
            commands=self.commands,
        )

    def effects(self, decision: Decision) -> list[Callable[[], None]]:
        """What a pass writes, in the order in which the reconciler does."""
        made: list[Callable[[], None]] = []
        for revision in decision.revisions.values():
            if revision.shape is None:
                continue
            body = to_object(CONTEXT.owner, revision)
            if self.stored.get(revision.name) != body:
                made.append(lambda n=revision.name, b=body: self.stored.__setitem__(n, b))  # type: ignore[misc]
        for name in decision.running:
            if name not in self.crews:
                made.append(lambda n=name: self.crews.__setitem__(n, False))  # type: ignore[misc]
        if self.known or not decision.active:
            made += [lambda n=n: self.crews.__delitem__(n) for n in self.crews if n not in decision.running]  # type: ignore[misc]
            made += [lambda n=n: self.stored.__delitem__(n) for n in self.stored if n not in decision.revisions]  # type: ignore[misc]
        if decision.record is not None:
            made.append(lambda: self._switch(decision.record))
        if self.commands != Commands():
            made.append(lambda: setattr(self, "commands", Commands()))
        return made

    def _switch(self, record: Rollout | None) -> None:
        assert record is not None
        if record.active != self.active:
            self.switches.append((self.active, record.active))
        self.record = record

    def step(self, most: int | None = None) -> Decision:
        """One pass, of which only the first `most` writes happen."""
        decision = decide(self.seen())
        for effect in self.effects(decision)[:most]:
            effect()
        return decision

    def settle(self) -> Decision:
        """Passes at one moment until one writes nothing."""
        for _ in range(12):
            decision = decide(self.seen())
            effects = self.effects(decision)
            if not effects:
                return decision
            for effect in effects:
                effect()
        raise AssertionError(f"never at rest: {decision.reason} {decision.message}")

    def ask(self, **commands: object) -> "World":
        self.commands = replace(self.commands, **commands)  # type: ignore[arg-type]
        return self

    def goes(self, name: str, *, after: float = 60) -> "World":
        """A spec that becomes active and proves itself."""
        self.wanted = name
        self.settle()
        self.crews[name] = True
        self.settle()
        self.later(after).settle()
        assert self.active == name, self.revisions
        return self
