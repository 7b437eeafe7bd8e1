"""What is known of a deployment: the watches' word, and our own where the watches are late."""

from typing import Any

import pytest

from herald_contracts.resources.v1alpha1 import KIND
from herald_operator.build.naming import Object
from herald_operator.packing import pack, unpack
from herald_operator.store import Store, owner_of

KEY = ("team", "support")


def child(version: int, *, uid: str = "c-1", made: str = "2026-11-22T12:00:00Z", **more: Any) -> Object:
    metadata = {
        "name": "support-gateway",
        "namespace": "team",
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": made,
        "labels": {"herald.dev/deployment": "support"},
        "ownerReferences": [{"kind": KIND, "uid": "uid-1", "controller": True}],
        "managedFields": [{"manager": "herald"}],
    }
    return {"kind": "Deployment", "metadata": metadata | more, "spec": {"version": version}}


def store(*watched: Object) -> tuple[Store, list[bytes]]:
    index = [pack(body) for body in watched]
    return Store(lambda key: tuple(index) if key == KEY else ()), index


def version(known: Store, uid: str = "uid-1") -> int | None:
    found = known.children(KEY, uid)[0].get(("Deployment", "support-gateway"))
    return None if found is None else int(found["spec"]["version"])


@pytest.mark.parametrize(
    ("watched", "written", "expected"),
    [(5, 7, 7), (9, 7, 9), (9, 10, 10), (None, 7, 7), (5, None, 5), (None, None, None), (99, 100, 100)],
)
def test_the_newer_counts(watched: int | None, written: int | None, expected: int | None) -> None:
    known, _ = store(*([child(watched)] if watched else []))
    if written:
        known.wrote(KEY, child(written))
    assert version(known) == expected


def test_once_the_watch_has_caught_up_it_alone_counts() -> None:
    known, index = store()
    known.wrote(KEY, child(7))
    index.append(pack(child(7)))
    assert version(known) == 7
    index.clear()
    assert version(known) is None, "gone, and nobody else remembers it"


def test_what_is_removed_is_not_known_from_our_own_write_either() -> None:
    known, index = store(child(5))
    known.wrote(KEY, child(7))
    index.clear()
    known.removed(KEY, "Deployment", "support-gateway", "an earlier one")
    assert version(known) == 7
    known.removed(KEY, "Deployment", "support-gateway", "c-1")
    known.removed(("team", "other"), "Deployment", "support-gateway", "c-1")
    assert version(known) is None


def test_another_object_of_the_same_name_is_told_by_its_uid() -> None:
    known, index = store(child(50, uid="c-1"))
    known.wrote(KEY, child(7, uid="c-2", made="2026-11-22T12:00:01Z"))
    assert version(known) == 7, "resource versions of two objects say nothing"
    index[:] = [pack(child(8, uid="c-3", made="2026-11-22T12:00:09Z"))]
    assert version(known) == 8


@pytest.mark.parametrize(
    ("owners", "ours"),
    [
        ([{"kind": KIND, "uid": "uid-1", "controller": True}], True),
        ([], True),
        (None, True),
        ([{"uid": "uid-0", "controller": True}], False),
        ([{"uid": "uid-0"}, {"uid": "uid-1", "controller": True}], True),
        ([{"uid": "deployment-of-ours", "controller": True}], False),
    ],
)
def test_children_are_those_that_hang_on_this_very_deployment(owners: Any, ours: bool) -> None:
    known, _ = store(child(5, ownerReferences=owners))
    assert (version(known) == 5) is ours


def test_of_a_pod_its_spec_is_not_kept() -> None:
    pod = {**child(5), "kind": "Pod", "status": {"phase": "Running"}}
    seen = unpack(pack(pod))
    assert ("spec" in seen, seen["status"]) == (False, {"phase": "Running"})
    assert "spec" in unpack(pack(child(5)))


def test_pods_hang_on_something_else_and_are_known_all_the_same() -> None:
    pod = {**child(5, ownerReferences=[{"uid": "a-replicaset", "controller": True}]), "kind": "Pod"}
    known, _ = store(pod)
    found, pods = known.children(KEY, "uid-1")
    assert (found, [p["metadata"]["uid"] for p in pods]) == ({}, ["c-1"])


def resource(version_: int, **more: Any) -> Object:
    return {"kind": "AgentDeployment", "metadata": {**child(version_)["metadata"], "name": "support", **more}}


def test_an_old_event_does_not_undo_our_own_answer() -> None:
    known, _ = store()
    known.see(resource(9))
    known.see(resource(10))
    known.see(resource(9))
    seen = known.resource(KEY)
    assert seen is not None
    assert seen["metadata"]["resourceVersion"] == "10"
    assert "managedFields" not in seen["metadata"]
    assert known.deployments() == (KEY,)


def test_a_deployment_made_anew_is_another_one() -> None:
    known, _ = store()
    known.see(resource(90))
    known.see(resource(7, uid="new", creationTimestamp="2026-11-22T13:00:00Z"))
    seen = known.resource(KEY)
    assert seen is not None
    assert seen["metadata"]["uid"] == "new"
    known.gone(KEY, "u-1")
    assert known.resource(KEY) == seen, "that the old one is gone is told late"
    known.gone(KEY, "new")
    assert known.resource(KEY) is None
    assert known.resource(("other", "support")) is None


def test_what_is_given_out_may_be_changed() -> None:
    known, _ = store(child(5))
    known.children(KEY, "uid-1")[0]["Deployment", "support-gateway"]["spec"]["version"] = 99
    assert version(known) == 5


def test_whose_an_object_is_says_its_label() -> None:
    assert owner_of(child(1)) == KEY
    assert owner_of({"kind": "Pod", "metadata": {"namespace": "team", "name": "x", "labels": None}}) is None
    assert owner_of(child(1, ownerReferences=None)) == KEY
    theirs = child(1, ownerReferences=[{"kind": "Deployment", "uid": "d-1", "controller": True}])
    assert owner_of(theirs) is None, "a Deployment's ReplicaSet has the labels of its pods, and those are ours"
    assert owner_of({**theirs, "kind": "Pod"}) == KEY
