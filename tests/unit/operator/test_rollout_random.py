"""Rollouts under any sequence of events, the end of the operator between any two of its writes among them."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from herald_operator.planning.rollout import Commands, Decision, Seen, decide
from tests.unit.operator.rollouts import World, spec

NAMES = st.sampled_from("ABCD")
SPECS = st.builds(
    spec,
    auto=st.booleans(),
    deadline=st.sampled_from((10, 600)),
    delay=st.sampled_from((0, 30, 3_600)),
    keep=st.sampled_from((1, 3)),
)


def check(seen: Seen, decision: Decision) -> None:
    """What must hold of every decision."""
    before = seen.record
    revisions = decision.revisions
    if decision.active:
        assert decision.active in decision.running, "who answers has workers"
    if before is not None:
        assert decision.active == before.active, "the record says who answers"
        assert decision.candidate != before.active
    for name in (decision.active, decision.candidate):
        assert not name or name in revisions or name == (before.active if before else ""), "who is in use is kept"
    assert seen.wanted in revisions
    if decision.record is not None:
        assert seen.known, "nothing is written while nobody knows what is there"
        assert decision.record.generation == (before.generation + 1 if before else 1)
        if decision.record.active != decision.active:
            new = decision.record.active
            assert seen.crews[new].available, "a switch goes to workers that are there"
            assert new in seen.ready
            assert revisions[new].outcome != "Failed"
            allowed = seen.spec.auto_promote or revisions[new].approved or not decision.active
            assert allowed, "a switch has consent"
    for name, revision in revisions.items():
        known = seen.revisions.get(name)
        if revision.outcome == "Failed" and (known is None or known.outcome != "Failed"):
            by_hand = seen.commands.abort or seen.commands.rollback_to
            assert by_hand or seen.known, "nothing is given up while NATS does not answer"
            assert decision.active, "the first is never given up"
    successful = [r for r in revisions.values() if r.outcome == "Successful"]
    in_use = {seen.wanted, *decision.running}
    assert len([r for r in successful if r.name not in in_use]) <= seen.spec.revision_history_limit
    assert decision.again is None or 0 < decision.again <= 86_400 + 1


class Rollouts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(name=NAMES)
    def write_a_spec(self, name: str) -> None:
        self.world.wanted = name

    @rule(chosen=SPECS)
    def change_how_to_roll_out(self, chosen: object) -> None:
        self.world.spec = chosen  # type: ignore[assignment]

    @rule(name=NAMES, well=st.booleans())
    def workers_come_and_go(self, name: str, well: bool) -> None:
        if name in self.world.crews:
            self.world.crews[name] = well

    @rule(name=NAMES)
    def somebody_removes_a_replicaset(self, name: str) -> None:
        self.world.crews.pop(name, None)

    @rule(name=NAMES)
    def models_come_and_go(self, name: str) -> None:
        self.world.unready ^= {name}

    @rule(seconds=st.sampled_from((0.4, 1, 9, 10, 29, 30, 599, 600, 86_400)))
    def time_passes(self, seconds: float) -> None:
        self.world.later(seconds)

    @rule()
    def nats_goes_or_returns(self) -> None:
        self.world.known = not self.world.known

    @precondition(lambda self: self.world.known)
    @rule()
    def the_record_is_lost(self) -> None:
        self.world.record = None

    @rule(promote=st.booleans(), abort=st.booleans(), retry=st.booleans(), to=st.sampled_from(("", "A", "B", "X")))
    def a_person_asks(self, promote: bool, abort: bool, retry: bool, to: str) -> None:
        self.world.commands = Commands(promote, abort, retry, to)

    @rule(most=st.integers(0, 6))
    def the_operator_ends_on_the_way(self, most: int) -> None:
        check(self.world.seen(), self.world.step(most))

    @rule()
    def the_operator_looks(self) -> None:
        seen = self.world.seen()
        check(seen, self.world.step())

    @rule()
    def the_operator_finishes(self) -> None:
        """Then nothing is left to write, and nothing changes by itself before the time it named."""
        decision = self.world.settle()
        check(self.world.seen(), decision)
        assert self.world.commands == Commands()
        still = replace(self.world)
        wait = decision.again if decision.again is not None else 10_000.0
        still.now = self.world.now + timedelta(seconds=max(0.0, wait - 2) * 0.9)
        later = decide(still.seen())
        assert not still.effects(later), "at rest"
        assert (later.reason, later.message) == (decision.reason, decision.message)

    @invariant()
    def decisions_do_not_depend_on_chance(self) -> None:
        seen = self.world.seen()
        first, second = decide(seen), decide(replace(seen, crews=dict(reversed(list(seen.crews.items())))))
        assert first == second

    @invariant()
    def who_answers_is_never_without_workers_for_long(self) -> None:
        world = replace(self.world, known=True, commands=Commands(), crews=dict(self.world.crews))
        world.stored, world.switches = dict(self.world.stored), []
        active = world.active
        world.settle()
        if active:
            assert world.active in world.crews
            assert len(world.switches) <= 1, "one decision, one switch"

    def teardown(self) -> None:
        """Whatever has happened: once all is well and a person tries again, the spec is followed."""
        world = self.world
        world.known, world.unready = True, set()
        world.settle()
        world.ask(retry=True, promote=True).settle()
        world.crews = dict.fromkeys(world.crews, True)
        world.settle()
        assert world.active == world.wanted
        world.later(100_000).settle()
        assert world.outcome(world.wanted) == "Successful"
        assert set(world.crews) == {world.wanted}
        assert world.settle().reason == "Idle"


def test_any_sequence_of_events() -> None:
    run_state_machine_as_test(
        Rollouts,
        settings=settings(
            max_examples=100,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
