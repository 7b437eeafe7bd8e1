"""How a deployment goes: in order, within bounds, whatever was written by whom."""

import pytest

from herald_operator.build.naming import INSTANCE, Object
from herald_operator.planning.deletion import CLAIM, DATA, GATEWAY_SECONDS, SERVERS_SECONDS, WORKERS_SECONDS
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


def with_volumes(policy: str = "Retain") -> Imagined:
    """All that answered is gone; the servers stand, with a volume each."""
    world = leaving(deletionPolicy=policy)
    world.children = {key: body for key, body in world.children.items() if key[0] == "StatefulSet"}
    world.pods = [p for p in world.pods if p["metadata"]["name"].startswith("StatefulSet")]
    for _, name in [*world.children, ("StatefulSet", "of-an-earlier-life")]:
        world.children[CLAIM, f"data-{name}-0"] = volume(f"data-{name}-0")
    return world


def volume(name: str, *owners: str) -> Object:
    references = [{"kind": "StatefulSet", "name": owner, "uid": f"uid-StatefulSet-{owner}"} for owner in owners]
    return {"kind": CLAIM, "metadata": {"name": name, "labels": {}, "ownerReferences": references}}


def names(bodies: tuple[Object, ...]) -> list[str]:
    return [body["metadata"]["name"] for body in bodies]


def test_data_that_is_not_to_stay_goes_after_its_servers_have_stopped() -> None:
    """A StatefulSet that was removed while it made a volume left it to nobody."""
    world = with_volumes("Delete")
    plan = world.plan()
    servers = ["support-milvus", "support-nats", "support-postgres"]
    assert [(s.name, s.replicas) for s in plan.scale] == [(name, 0) for name in servers]
    assert (plan.delete, plan.finalizer, plan.again) == ((), None, SERVERS_SECONDS)
    world.carry_out(plan)
    for body in world.of("StatefulSet"):
        body["metadata"]["generation"] = 2
    assert world.plan().delete == (), "Kubernetes has not looked at that yet, and may be making a volume"
    for body in world.of("StatefulSet"):
        body["status"]["observedGeneration"] = 2
    assert world.plan().delete == (), "their pods are there"
    for body in world.of("StatefulSet"):
        body["status"]["replicas"] = 0
    plan = world.plan()
    volumes = [f"data-{name}-0" for name in servers]
    assert names(plan.delete) == [*volumes, *servers], "a crash between two of them finds the rest again"
    world.carry_out(plan)
    assert world.plan().finalizer is False
    assert (CLAIM, "data-of-an-earlier-life-0") in world.children


def test_servers_that_do_not_stop_hold_nothing_up_for_ever() -> None:
    world = with_volumes("Delete")
    assert world.later(SERVERS_SECONDS - 1).plan().finalizer is None
    assert world.later(1).plan().finalizer is False


def test_data_that_is_to_stay_does_not_hang_on_what_goes() -> None:
    """The policy was Delete until a moment ago, and nobody has told the StatefulSets yet."""
    world = with_volumes()
    told = world.children["StatefulSet", "support-postgres"]
    told["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = "Delete"
    world.children[CLAIM, "data-support-postgres-0"] = volume("data-support-postgres-0", "support-postgres")
    plan = world.plan()
    assert [(names((live,)), change["spec"]) for live, change in plan.patch] == [
        (["support-postgres"], {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}})
    ]
    assert plan.finalizer is None
    told["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = "Retain"
    told["metadata"]["generation"] = 2
    plan = world.plan()
    assert (plan.patch, plan.finalizer) == ((), None), "Kubernetes would bind it again"
    told["status"]["observedGeneration"] = 2
    plan = world.plan()
    assert [(names((live,)), change) for live, change in plan.patch] == [
        (["data-support-postgres-0"], {"metadata": {"ownerReferences": [], "labels": {INSTANCE: None}}})
    ]
    world.carry_out(plan)
    assert world.plan().finalizer is False


def test_data_that_is_to_stay_is_freed_when_the_time_is_up() -> None:
    world = with_volumes()
    world.children["StatefulSet", "support-postgres"]["metadata"]["generation"] = 2
    world.children[CLAIM, "data-support-postgres-0"] = volume("data-support-postgres-0", "support-postgres")
    assert world.plan().patch == ()
    plan = world.later(SERVERS_SECONDS).plan()
    assert names(tuple(live for live, _ in plan.patch)) == ["data-support-postgres-0"]
    assert plan.finalizer is None
    world.carry_out(plan)
    assert world.plan().finalizer is False


@pytest.mark.parametrize("kind", DATA)
def test_what_holds_data_or_opens_them_hangs_on_nobody_before_anything_goes(kind: str) -> None:
    world = leaving()
    body = volume("support-it")
    body["kind"] = kind
    others = {"kind": "Backup", "name": "theirs", "uid": "uid-2"}
    body["metadata"]["ownerReferences"] = [{"kind": "AgentDeployment", "name": "support", "uid": "uid-1"}, others]
    world.children[kind, "support-it"] = body
    plan = world.plan()
    assert plan.patch == ((body, {"metadata": {"ownerReferences": [others], "labels": {INSTANCE: None}}}),)
    assert plan.delete == ()
    world.carry_out(plan)
    assert world.plan().delete
