"""How a deployment goes: in order, within bounds, whatever was written by whom."""

import pytest

from herald_operator.planning.deletion import GATEWAY_SECONDS, WORKERS_SECONDS
from tests.unit.operator.imagined import Imagined
from tests.unit.operator.specs import QUICKSTART, imagined


def leaving(began: str = "2026-11-22T12:00:00Z", **changes: object) -> Imagined:
    world = imagined(QUICKSTART)
    world.change(**changes).rest()
    world.resource["metadata"]["deletionTimestamp"] = began
    return world


def kinds(world: Imagined) -> list[tuple[str, str]]:
    return [(b["kind"], b["metadata"]["labels"]["app.kubernetes.io/component"]) for b in world.plan().delete]


def test_the_gateway_then_the_workers_then_everything() -> None:
    world = leaving(gateway={"autoscaling": {"max": 3}}, agent={"autoscaling": {"max": 3}})
    assert sorted(kinds(world)) == [
        ("Deployment", "gateway"),
        ("HorizontalPodAutoscaler", "gateway"),
        ("ScaledObject", "agent"),
    ]
    world.carry_out(world.plan())
    assert kinds(world) == []
    assert world.resource["status"]["phase"] == "Deleting"
    world.pods = [p for p in world.pods if "gateway" not in p["metadata"]["name"]]
    assert kinds(world) == [("ReplicaSet", "agent")]
    world.carry_out(world.plan())
    assert world.plan().finalizer is None
    world.pods = []
    plan = world.plan()
    assert (plan.finalizer, plan.delete, plan.make, plan.record) == (False, (), (), None)


def test_nobody_waits_for_ever_for_pods_that_do_not_go() -> None:
    world = leaving()
    world.carry_out(world.plan())
    plan = world.plan()
    assert plan.again == GATEWAY_SECONDS
    world.later(GATEWAY_SECONDS)
    assert kinds(world) == [("ReplicaSet", "agent")]
    world.carry_out(world.plan())
    assert world.plan().again == WORKERS_SECONDS - GATEWAY_SECONDS
    world.later(WORKERS_SECONDS - GATEWAY_SECONDS - 1)
    assert world.plan().finalizer is None
    assert world.later(1).plan().finalizer is False


@pytest.mark.parametrize("began", ["", "yesterday", "2020-01-01T00:00:00Z"])
def test_a_beginning_that_is_none_or_long_ago_ends_at_once(began: str) -> None:
    assert leaving(began or "x").plan().finalizer is False


def test_a_clock_that_is_behind_does_not_hold_it_up_much() -> None:
    plan = leaving("2026-11-22T12:00:05Z").plan()
    assert plan.again == GATEWAY_SECONDS + 5


def test_what_is_leaving_already_is_not_removed_again() -> None:
    world = leaving()
    for body in world.of("Deployment", "gateway"):
        body["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    assert kinds(world) == []


def test_without_our_finalizer_nothing_is_ours_to_do() -> None:
    world = leaving()
    world.resource["metadata"]["finalizers"] = ["theirs"]
    plan = world.plan()
    assert (plan.delete, plan.finalizer, plan.again) == ((), None, None)


def test_the_conditions_of_others_do_not_make_it_write_again_and_again() -> None:
    world = leaving()
    foreign = {"type": "Audited", "status": "True", "reason": "Yes", "lastTransitionTime": "2026-11-22T12:00:00Z"}
    world.resource["status"]["conditions"].insert(0, foreign)
    world.carry_out(world.plan())
    world.resource["status"]["conditions"].append(foreign)
    assert world.carry_out(world.plan()) == 0


def test_pause_does_not_keep_what_is_to_go() -> None:
    world = leaving(paused=True)
    assert ("Deployment", "gateway") in kinds(world)
