"""One deployment from its first look to its last, over a cluster in memory: what waits for what, what is left alone."""

import copy
from typing import Any

import pytest

from herald_contracts.rollout import Rollout
from herald_operator.build.naming import FINALIZER
from herald_operator.planning import plan as planning
from tests.resource_documents import GONE, MANAGED
from tests.unit.operator.imagined import Imagined, resource
from tests.unit.operator.specs import imagined


def running(**changes: Any) -> Imagined:
    """A deployment that answers, and has proved itself."""
    world = Imagined(resource({"spec.agent": {"replicas": 2}})).change(**changes) if changes else Imagined(resource())
    world = imagined(world.resource)
    world.later(60).rest()
    assert world.resource["status"]["phase"] == "Ready", world.resource["status"]
    return world


def test_from_nothing_to_an_answer() -> None:
    world = Imagined()
    first = world.plan()
    assert first.finalizer is True
    world.carry_out(first)
    assert not world.of("Job")
    assert not world.of("ReplicaSet")
    assert world.resource["status"]["phase"] == "Starting"
    world.well("postgres").carry_out(world.plan())
    assert len(world.of("Job")) == 1, "the migration waits for the database"
    assert not world.of("ReplicaSet"), "and the workers for the migration"
    world.well("migration").carry_out(world.plan())
    crew = world.of("ReplicaSet")[0]
    assert crew["spec"]["replicas"] == 2
    assert world.record is None
    world.rest()
    assert world.record is not None
    assert world.resource["status"]["phase"] == "Ready"
    assert world.resource["status"]["activeRevision"] == world.record.active


def test_a_plan_changes_nothing_of_what_it_was_made_from() -> None:
    world = running()
    world.change(instructions="Other.", gateway={"replicas": 3}).ask("retry")
    before = copy.deepcopy(world)
    world.plan()
    assert world == before


def test_a_second_look_at_the_same_says_and_writes_the_same() -> None:
    world = running()
    plan = world.plan()
    assert world.carry_out(plan) == 0
    assert plan.status == world.plan().status
    assert world.later(10_000).carry_out(world.plan()) == 0, "and nothing changes by itself with time"


@pytest.mark.parametrize(
    "trouble",
    [
        {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 7}]},
        {"containerStatuses": [{"image": "x", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
        {"conditions": [{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/3 nodes"}]},
        {"phase": "Pending"},
    ],
)
def test_a_message_about_trouble_does_not_change_by_itself(trouble: dict[str, Any]) -> None:
    world = running()
    world.change(instructions="Other.")
    world.rest(well=False)
    crew = next(b for b in world.of("ReplicaSet") if world.record and world.record.active not in b["metadata"]["name"])
    world.pods.append({**world._pod("new", crew), "status": trouble})
    world.rest(well=False)
    for seconds in (1, 60, 300):
        assert world.later(seconds).carry_out(world.plan()) == 0


def test_a_change_starts_a_second_crew_beside_the_first_and_then_the_first_leaves() -> None:
    world = running()
    before = world.of("ReplicaSet")[0]["metadata"]["name"]
    world.change(instructions="Other.").carry_out(world.plan())
    assert len(world.of("ReplicaSet")) == 2
    assert len(world.of("Deployment", "inference")) == 1, "a prompt starts no second model"
    world.rest()
    assert world.record is not None
    assert before != f"support-{world.record.active}"
    assert len(world.of("ReplicaSet")) == 2
    world.later(31).rest()
    assert len(world.of("ReplicaSet")) == 1


def test_nothing_is_taken_away_while_nats_does_not_answer() -> None:
    world = running()
    world.known = False
    world.change(agent__memory={"enabled": False})
    world.rest()
    assert world.of("StatefulSet", "milvus")
    world.known = True
    world.later(600).rest()
    world.later(600).rest()
    assert not world.of("StatefulSet", "milvus")


def test_volumes_and_secrets_are_never_taken_away_by_a_change() -> None:
    world = running(inference__cache={"volume": {"size": "1Gi"}})
    world.change(inference__cache=GONE, agent__memory={"enabled": False}).rest()
    world.later(600).rest()
    assert world.of("PersistentVolumeClaim")


def test_suspend_stops_the_gateway_then_the_workers_then_the_rest() -> None:
    world = running(
        agent={"autoscaling": {"min": 2, "max": 5}}, gateway={"autoscaling": {"min": 2, "max": 5}}, suspend=False
    )
    world.of("ReplicaSet")[0]["spec"]["replicas"] = 4  # the autoscaler's doing
    world.well().change(suspend=True)

    def counts() -> dict[str, int]:
        kinds = ("Deployment", "StatefulSet", "ReplicaSet")
        return {
            b["metadata"]["labels"]["app.kubernetes.io/component"]: b["spec"]["replicas"]
            for kind in kinds
            for b in world.of(kind)
        }

    world.carry_out(world.plan())
    assert not world.of("HorizontalPodAutoscaler")
    assert not world.of("ScaledObject"), "an autoscaler would start them again"
    assert counts() == {"gateway": 0, "agent": 4, "inference": 1, "nats": 1, "postgres": 1, "milvus": 1}
    world.carry_out(world.plan())
    assert counts()["agent"] == 4, "the gateway's pods are still there"
    world.well("gateway").carry_out(world.plan())
    assert counts() == {"gateway": 0, "agent": 0, "inference": 1, "nats": 1, "postgres": 1, "milvus": 1}
    world.well("agent").carry_out(world.plan())
    assert set(counts().values()) == {0}
    world.rest()
    assert world.resource["status"]["phase"] == "Suspended"
    assert world.condition("Ready")["reason"] == "Suspended"
    before = world.record
    world.change(suspend=False).rest()
    assert (world.record, world.resource["status"]["phase"]) == (before, "Ready")


def test_a_spec_that_changed_during_a_long_suspend_gets_its_whole_time() -> None:
    world = running()
    world.change(suspend=True).rest()
    world.change(instructions="Other.").rest()
    world.later(86_400).change(suspend=False)
    world.carry_out(world.plan())
    assert world.resource["status"]["phase"] != "Degraded" or world.condition("Promoted")["reason"] != "RevisionFailed"
    world.rest()
    world.later(60).rest()
    assert world.resource["status"]["phase"] == "Ready"


def test_paused_says_and_changes_nothing() -> None:
    world = running()
    world.change(paused=True, instructions="Other.", gateway={"replicas": 7}).ask("promote")
    plan = world.plan()
    assert plan == planning.Plan(status=plan.status)
    before = copy.deepcopy(world.children)
    world.rest()
    assert world.children == before
    assert world.resource["status"]["phase"] == "Paused"
    assert world.resource["status"]["observedGeneration"] == 2
    world.change(paused=False).rest()
    world.later(60).rest()
    assert world.resource["status"]["phase"] == "Ready"


@pytest.mark.parametrize(
    "held",
    [{"paused": True}, {"instructions": "Other.", "security": {}}],
    ids=["paused", "refused"],
)
def test_time_in_which_nothing_is_carried_out_counts_against_nobody(held: dict[str, Any]) -> None:
    world = running()
    world.change(instructions="Other.")
    world.rest(well=False)
    candidate = world.resource["status"]["candidateRevision"]
    good = copy.deepcopy(world.resource)
    world.later(500)
    world.resource["spec"] |= held
    world.rest(well=False)
    world.later(86_400).rest(well=False)
    assert world.resource["status"]["candidateRevision"] == candidate, "nor is it said to have failed"
    world.resource["spec"] = copy.deepcopy(good["spec"])
    world.rest(well=False)
    world.later(599).rest(well=False)
    assert world.resource["status"]["candidateRevision"] == candidate, "all its time, from now"
    world.later(1).rest(well=False)
    assert world.condition("Promoted")["reason"] == "RevisionFailed"


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"agent": {"replicas": 2, "autoscaling": {"max": 3}}}, "InvalidSpec", "spec.agent"),
        ({"agent": {"replica": 2}}, "InvalidSpec", "did you mean replicas?"),
        ({"security": {}}, "InvalidSpec", "spec.security: does not work in this version"),
        (
            {"channels": [{"name": "a", "hmac": {"secretRef": {"name": "k"}, "replyURL": "https://a.example/"}}]},
            "ReferenceMissing",
            "spec.channels[0].hmac.secretRef.name: there is no Secret 'k' "
            "(kubectl -n team create secret generic k --from-file=secret=FILE)",
        ),
        (
            {"instructions": GONE, "instructionsFrom": {"name": "p", "key": "k"}},
            "ReferenceMissing",
            "kubectl -n team create configmap p --from-file=k=FILE",
        ),
        (
            {"database": {"external": {"secretRef": {"name": "empty"}}}},
            "ReferenceMissing",
            "spec.database.external.secretRef.name: the Secret 'empty' has no key 'dsn' "
            "(kubectl -n team create secret generic empty --from-file=dsn=FILE --dry-run=client -o json "
            "| kubectl -n team patch secret empty --patch-file=/dev/stdin)",
        ),
    ],
)
def test_what_cannot_be_carried_out_is_said_and_what_runs_goes_on(
    changes: dict[str, Any], reason: str, said: str
) -> None:
    world = running()
    before = copy.deepcopy(world.resource["status"])
    good = copy.deepcopy(world.resource["spec"])
    world.secrets["empty"] = {"dsn": b""}
    new = copy.deepcopy(world.resource)
    new["spec"] = {k: v for k, v in {**new["spec"], **changes}.items() if v is not GONE}
    new["metadata"]["generation"] = 2
    world.resource = new
    plan = world.plan()
    assert plan == planning.Plan(status=plan.status)
    world.carry_out(plan)
    assert said in world.condition("Accepted")["message"]
    assert (world.condition("Accepted")["reason"], world.condition("Ready")["status"]) == (reason, "False")
    status = world.resource["status"]
    assert (status["phase"], status["observedGeneration"]) == ("Invalid", 2)
    for kept in ("activeRevision", "history", "channels", "components", "replicas", "selector"):
        assert status[kept] == before[kept]
    assert world.carry_out(world.plan()) == 0
    others = {c["type"]: c for c in before["conditions"] if c["type"] not in ("Accepted", "Ready")}
    assert {"GatewayReady", "AgentsReady", "Promoted"} <= set(others)
    for kind, condition in others.items():
        assert world.condition(kind) == condition, "what was last seen of it, about the spec before"
    world.resource["spec"] = copy.deepcopy(good)
    world.later(60).rest()
    assert world.resource["status"]["phase"] == "Ready"
    for kind, condition in others.items():
        assert world.condition(kind)["lastTransitionTime"] == condition["lastTransitionTime"], "nothing has happened"


def test_what_is_refused_from_the_beginning_says_nothing_of_its_parts() -> None:
    world = Imagined(resource({"spec.security": {}}))
    world.rest()
    assert [c["type"] for c in world.resource["status"]["conditions"]] == ["Accepted", "Ready"]


def test_commands_are_consumed_and_what_cannot_be_done_is_said() -> None:
    world = running()
    world.ask("rollback-to", "v1-nothing").ask("promote").ask("restart", "1").ask("foreign")
    plan = world.plan()
    assert set(plan.consume) == {"rollback-to", "promote"}
    accepted = next(c for c in plan.status["conditions"] if c["type"] == "Accepted")
    assert "no revision 'v1-nothing'" in accepted["message"]
    assert plan.declined == accepted["message"], "an Event: the condition lasts until the next look only"
    world.rest()
    assert set(world.resource["metadata"]["annotations"]) == {"herald.dev/restart", "herald.dev/foreign"}


def test_a_restart_replaces_workers_one_by_one() -> None:
    world = running(agent={"replicas": 3})
    old = {p["metadata"]["uid"] for p in world.pods if "agent" in str(p["metadata"]["labels"])}
    world.ask("restart", "2026-11-22")
    world.carry_out(world.plan())
    plan = world.plan()
    assert [p["kind"] for p in plan.delete] == ["Pod"]
    leaving = next(p for p in world.pods if p["metadata"]["uid"] == plan.delete[0]["metadata"]["uid"])
    leaving["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    assert not world.plan().delete, "the next one only when this one is gone"
    assert leaving["metadata"]["uid"] in old
    world.of("ReplicaSet")[0]["status"]["availableReplicas"] = 2
    leaving["metadata"].pop("deletionTimestamp")
    assert not world.plan().delete, "nor while one is missing"


def test_a_migration_that_failed_is_tried_again_after_a_minute() -> None:
    world = Imagined()
    world.carry_out(world.plan())
    world.well("postgres").carry_out(world.plan())
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    world.of("Job")[0]["status"] = {"conditions": [{**failed, "lastTransitionTime": "2026-11-22T12:00:00Z"}]}
    plan = world.plan()
    assert (plan.delete, plan.again) == ((), 60)
    world.carry_out(plan)
    assert "kubectl -n team logs job/" in world.condition("DatabaseReady")["message"]
    assert [b["kind"] for b in world.later(60).plan().delete] == ["Job"]


def test_a_spec_that_changes_while_the_migration_runs_leaves_it_alone() -> None:
    """A Job's template never changes: an API server would refuse it, and nothing would be switched."""
    world = Imagined()
    world.carry_out(world.plan())
    world.well("postgres").carry_out(world.plan())
    before = copy.deepcopy(world.of("Job"))
    settings = before[0]["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
    world.change(instructions="Other.").carry_out(world.plan())
    assert world.of("Job") == before
    assert ("ConfigMap", settings) in world.children, "its pod may not have begun"
    world.rest()
    assert world.resource["status"]["phase"] == "Ready"
    assert ("ConfigMap", settings) not in world.children


def test_a_job_that_somebody_removed_is_made_once() -> None:
    world = running()
    world.change(instructions="Other.").carry_out(world.plan())
    for key in [k for k in world.children if k[0] == "Job"]:
        del world.children[key]
    plan = world.plan()
    names = [(o["kind"], o["metadata"]["name"]) for o in plan.make]
    assert sorted(names) == sorted(set(names))
    world.rest()


def test_the_finalizer_is_added_once() -> None:
    world = running()
    assert world.resource["metadata"]["finalizers"] == [FINALIZER]
    assert world.plan().finalizer is None


def test_the_whole_managed_document_comes_to_rest() -> None:
    world = Imagined(resource({"spec.suspend": False, "spec.paused": False}, MANAGED)).give()
    world.rest()
    world.later(60).rest()
    assert world.record is not None
    assert world.record.stable == world.record.active
    assert isinstance(world.record, Rollout)
