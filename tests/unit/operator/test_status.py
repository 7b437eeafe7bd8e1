"""Conditions, phases, Events and what people are told of a component."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from herald_contracts.resources.v1alpha1.status import Status
from herald_operator.build.naming import Object
from herald_operator.planning import readiness, status
from herald_operator.planning.observed import Observed
from herald_operator.planning.readiness import Readiness
from herald_operator.planning.status import Part, Verdict
from tests.unit.operator.imagined import Imagined, resource
from tests.unit.operator.rollouts import START

THEN, NOW = "2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z"
LATER = START + timedelta(hours=1)


def verdict(state: str = "True", reason: str = "Ready", message: str = "") -> Verdict:
    return Verdict("Ready", state, reason, message)


@pytest.mark.parametrize(
    ("after", "since"),
    [
        (verdict(), THEN),
        (verdict(message="other words"), THEN),
        (verdict(reason="Other"), THEN),
        (verdict("False"), NOW),
        (verdict("Unknown"), NOW),
    ],
)
def test_a_condition_has_the_time_of_its_change(after: Verdict, since: str) -> None:
    live = {"conditions": status.conditions([verdict()], {}, 1, START)}
    made = status.conditions([after], live, 2, LATER)
    assert [(c["lastTransitionTime"], c["observedGeneration"]) for c in made] == [(since, 2)]


@pytest.mark.parametrize("garbage", [None, "x", [], [None, 1], [{}], [{"type": "Ready"}]])
def test_conditions_that_are_none_count_as_absent(garbage: Any) -> None:
    made = status.conditions([verdict()], {"conditions": garbage}, 1, LATER)
    assert made[0]["lastTransitionTime"] == NOW
    status.transitions({"conditions": made}, {"conditions": garbage})
    assert status.differs({"conditions": made}, {"conditions": garbage})


def test_the_conditions_of_others_are_no_reason_to_write() -> None:
    said: Object = {"phase": "Ready", "conditions": status.conditions([verdict()], {}, 1, START)}
    live = copy.deepcopy(said)
    live["conditions"].insert(0, {"type": "Audited", "status": "True"})
    live["theirs"] = 1
    assert not status.differs(said, live)
    live["conditions"][1]["message"] = "edited by hand"
    assert status.differs(said, live)


@pytest.mark.parametrize(
    ("wanted", "live", "expected"),
    [
        ({"replicas": 0}, {}, False),
        ({"candidateRevision": ""}, {}, False),
        ({"history": []}, {}, False),
        ({"replicas": 0}, {"replicas": 2}, True),
        ({"replicas": 2}, {}, True),
        ({"phase": "Ready"}, {"phase": "Starting"}, True),
        ({"phase": "Ready"}, {"phase": "Ready", "more": 1}, False),
    ],
)
def test_what_must_be_written(wanted: Object, live: Object, expected: bool) -> None:
    assert status.differs(wanted, live) is expected


def _conditions(**states: str) -> Object:
    return {"conditions": [{"type": t, "status": s, "reason": "R", "message": "m"} for t, s in states.items()]}


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        ({}, {"Ready": "True"}, [("Normal", "Ready")]),
        ({}, {"Ready": "False", "GatewayReady": "False"}, []),
        ({}, {"Accepted": "False"}, [("Warning", "NotAccepted")]),
        ({"Ready": "True"}, {"Ready": "True"}, []),
        ({"Ready": "True"}, {"Ready": "False"}, [("Warning", "NotReady")]),
        ({"Ready": "False"}, {"Ready": "True"}, [("Normal", "Ready")]),
        ({"Progressing": "True"}, {"Progressing": "False"}, [("Normal", "NotProgressing")]),
        ({"Promoted": "True"}, {"Promoted": "False"}, [("Warning", "NotPromoted")]),
        ({"MemoryReady": "True"}, {}, []),
    ],
)
def test_events_tell_of_changes_only(before: dict[str, str], after: dict[str, str], events: list[Any]) -> None:
    found = status.transitions(_conditions(**after), _conditions(**before))
    assert [event[:2] for event in found] == events


@pytest.mark.parametrize(
    ("verdicts", "switches", "expected"),
    [
        ({"Accepted": "True", "Ready": "True"}, {"deleting": True}, "Deleting"),
        ({"Accepted": "False", "Ready": "False"}, {"suspended": True}, "Invalid"),
        ({"Accepted": "True", "Ready": "False"}, {"suspended": True, "paused": True}, "Suspended"),
        ({"Accepted": "True", "Ready": "True", "Promoted": "False RevisionFailed"}, {"paused": True}, "Degraded"),
        ({"Accepted": "True", "Ready": "True"}, {"paused": True}, "Paused"),
        ({"Accepted": "True", "Ready": "True", "Progressing": "False WaitingForPromotion"}, {}, "WaitingForPromotion"),
        ({"Accepted": "True", "Ready": "True", "Progressing": "True"}, {}, "Progressing"),
        ({"Accepted": "True", "Ready": "True", "Progressing": "False"}, {}, "Ready"),
        ({"Accepted": "True", "Ready": "False Trouble"}, {"active": "a"}, "Degraded"),
        ({"Accepted": "True", "Ready": "False Starting"}, {"active": "a"}, "Degraded"),
        ({"Accepted": "True", "Ready": "False Starting"}, {"active": ""}, "Starting"),
        ({"Accepted": "True", "Ready": "False Trouble"}, {"active": ""}, "Degraded"),
    ],
)
def test_one_word_says_it_all(verdicts: dict[str, str], switches: dict[str, Any], expected: str) -> None:
    made = {kind: Verdict(kind, *f"{text} R".split()[:2]) for kind, text in verdicts.items()}
    chosen: dict[str, Any] = {"deleting": False, "suspended": False, "paused": False, "active": "a"} | switches
    assert status.phase(made, **chosen) == expected


def test_the_part_that_is_not_ready_speaks_for_its_condition() -> None:
    made = status.of_parts(
        [
            Part("postgres", Readiness(True)),
            Part("migration", Readiness(False, "failed", trouble=True)),
            Part("inference", Readiness(False, "is loading its models")),
            Part("inference", Readiness(True)),
        ]
    )
    assert made == [
        Verdict("DatabaseReady", "False", "Trouble", "migration failed"),
        Verdict("InferenceReady", "False", "Starting", "inference is loading its models"),
    ]


def test_trouble_comes_before_what_passes() -> None:
    verdicts = [Verdict("A", "False", "Starting", "a"), Verdict("B", "False", "Trouble", "b")]
    assert status.summary(verdicts, active="x", suspended=False).message == "b"
    assert status.summary([], active="", suspended=False).status == "False"
    others = [Verdict(kind, "False", "Failed") for kind in ("Promoted", "Progressing", "IntegrationsReady")]
    assert status.summary(others, active="x", suspended=False).status == "True", "the old revision answers"


WORKLOAD: Object = {
    "metadata": {"name": "w", "generation": 3},
    "spec": {"selector": {"matchLabels": {"app": "w"}}},
    "status": {"observedGeneration": 3, "availableReplicas": 2, "updatedReplicas": 2},
}


@pytest.mark.parametrize(
    ("kind", "changes", "ready"),
    [
        ("Deployment", {}, True),
        ("Deployment", {"availableReplicas": 1}, False),
        ("Deployment", {"updatedReplicas": 1}, False),
        ("Deployment", {"observedGeneration": 2}, False),
        ("ReplicaSet", {"updatedReplicas": None}, True),
        ("StatefulSet", {"availableReplicas": None}, False),
        ("Deployment", {"availableReplicas": 3, "updatedReplicas": 3}, True),
    ],
)
def test_a_workload_is_ready_when_all_of_today_are_there(kind: str, changes: Object, ready: bool) -> None:
    body = {**WORKLOAD, "status": {**WORKLOAD["status"], **changes}}
    seen = Observed(resource(), START, {(kind, "w"): body})
    assert readiness.workload(seen, kind, "w", 2, "is starting").ready is ready


def _pod(name: str, **state: Any) -> Object:
    return {"metadata": {"name": name, "labels": {"app": "w"}}, "status": state}


def _waiting(reason: str, **more: Any) -> Object:
    return {"containerStatuses": [{"image": "i:1", "state": {"waiting": {"reason": reason, "message": "why"}}, **more}]}


@pytest.mark.parametrize(
    ("state", "trouble", "said"),
    [
        (_waiting("ContainerCreating"), False, ""),
        (_waiting("ImagePullBackOff"), True, "the image i:1 cannot be pulled"),
        (_waiting("CreateContainerConfigError"), True, "the pod p cannot start (CreateContainerConfigError): why"),
        (
            _waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 137}}),
            True,
            "the pod p keeps ending with exit code 137; see `kubectl -n team logs p -p`",
        ),
        (_waiting("CrashLoopBackOff"), True, "exit code ?"),
        ({"phase": "Failed", "reason": "Evicted"}, True, "kubectl -n team describe pod p"),
        (
            {"conditions": [{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/3 nodes\nmore"}]},
            True,
            "no node can take the pod p: 0/3 nodes",
        ),
        ({"conditions": None, "containerStatuses": None}, False, ""),
    ],
)
def test_a_pods_trouble_is_said_with_what_to_type(state: Object, trouble: bool, said: str) -> None:
    body = {**WORKLOAD, "status": {}}
    seen = Observed(resource(), START, {("Deployment", "w"): body}, (_pod("p", **state), _pod("q")))
    found = readiness.workload(seen, "Deployment", "w", 2, "is starting")
    assert (found.ready, found.trouble) == (False, trouble)
    assert said in found.message


def test_pods_that_are_refused_are_said_too() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    body = {**WORKLOAD, "status": {"conditions": [failure]}}
    found = readiness.workload(Observed(resource(), START, {("ReplicaSet", "w"): body}), "ReplicaSet", "w", 1, "")
    assert (found.trouble, found.message) == (True, "its pods are refused: exceeded quota")


def test_every_text_of_a_status_fits_its_schema() -> None:
    world = Imagined()
    world.rest()
    Status.model_validate(world.resource["status"])
