"""A deployment in memory on its way through several specs, with what happens between them; and where it ends.

What this cannot show: defaults and refusals of a real API server, the merging of lists that others write to as well,
and what other controllers do at their own pace (tests/cluster/operator). NATS holds no more than the record here:
streams only ever grow, and what is asked of them follows from the last spec alone.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from herald_operator.planning import children
from tests.comparable import without
from tests.unit.operator.effects import document
from tests.unit.operator.imagined import EVERY_API, Imagined, resource

Spec = dict[str, Any]
Event = Callable[[Imagined], object]
# What differs from one deployment, or one moment, to the next.
_VOLATILE = frozenset(
    {"uid", "generation", "lastTransitionTime", "promotedAt", "herald.dev/started", "herald.dev/promoted"}
)
_PASSES = 100


def _pass(world: Imagined) -> None:
    world.carry_out(world.plan())


def _pass_and_well(world: Imagined) -> None:
    _pass(world)
    world.well()


def _database_well(world: Imagined) -> None:
    _pass(world)
    world.well("postgres", "migration", "nats")


def _cut(world: Imagined) -> None:
    """The operator ends in the middle of its writes."""
    world.carry_out(world.plan(), most=3)


def _cut_late(world: Imagined) -> None:
    world.carry_out(world.plan(), most=12)


def _rest(world: Imagined) -> None:
    world.rest(passes=_PASSES)


def _rest_unwell(world: Imagined) -> None:
    """What is new never becomes ready, for longer than anybody waits."""
    world.rest(well=False, passes=_PASSES)
    world.later(90_000).rest(well=False, passes=_PASSES)


def _later(world: Imagined) -> None:
    world.later(20)


def _nats_goes_or_returns(world: Imagined) -> None:
    world.known = not world.known
    _pass(world)


EVENTS: Sequence[Event] = (
    _pass, _pass_and_well, _database_well, _cut, _cut_late, _rest, _rest_unwell, _later, _nats_goes_or_returns,
)  # fmt: skip
BETWEEN = st.lists(st.sampled_from(EVENTS), max_size=6)


def begun(spec: Spec, *, keda: bool = True) -> Imagined:
    """New, and not looked at yet."""
    apis = EVERY_API if keda else EVERY_API - {"ScaledObject", "TriggerAuthentication"}
    return Imagined(resource(document=document(copy.deepcopy(spec))), apis=apis).give()


def changed_to(world: Imagined, spec: Spec) -> None:
    """What `kubectl replace` does: another spec, and nothing else."""
    world.resource["spec"] = copy.deepcopy(spec)
    world.resource["metadata"]["generation"] += 1
    world.give()


def settled(world: Imagined) -> dict[str, Any]:
    """The state, once all is well, every time has run out, and a person has said yes to what waits for one."""
    world.known = True
    for _ in range(30):
        plan = world.rest(passes=_PASSES)
        reason = world.condition("Promoted")["reason"]
        if reason == "WaitingForPromotion":
            world.ask("promote")
        elif reason == "RevisionFailed":
            world.ask("retry")
        elif plan.again is not None:
            world.later(plan.again + 1)
        elif not _calmed(world):
            return _state(world)
    raise AssertionError(f"never settled: {world.resource['status']}")


def _calmed(world: Imagined) -> bool:
    """Nobody has anything to do: autoscalers go down to their least. Whether one did."""
    went = False
    for (kind, _), scaler in world.children.items():
        if kind in children.AUTOSCALERS:
            target, spec = scaler["spec"]["scaleTargetRef"], scaler["spec"]
            live = world.children[(target["kind"], target["name"])]
            least = spec.get("minReplicas") or spec["minReplicaCount"]
            went = went or live["spec"]["replicas"] != least
            live["spec"]["replicas"] = least
    return went


def _state(world: Imagined) -> dict[str, Any]:
    found: dict[str, Any] = {f"{kind}/{name}": body for (kind, name), body in world.children.items()}
    for name, body in world.made_up.items():
        found[f"Secret/{name}"] = {**body, "data": world.secrets[name]}
    found["pods"] = sorted(str(p["metadata"]) for p in without(world.pods, _VOLATILE))
    record = world.record
    found["record"] = (record.active, record.candidate, record.stable) if record is not None else None
    found["status"] = world.resource["status"]
    found["annotations"] = world.resource["metadata"].get("annotations") or {}
    found["finalizers"] = world.resource["metadata"]["finalizers"]
    state: dict[str, Any] = without(found, _VOLATILE)
    return state
