"""What is known of a deployment: the watches' word, and our own where the watches are late."""

from typing import Any

import pytest

from herald_contracts.resources.v1alpha1 import KIND
from herald_operator.build.naming import Object
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
        "ownerReferences": [{"kind": KIND, "name": "support", "uid": "uid-1", "controller": True}],
        "managedFields": [{"manager": "herald"}],
    }
    return {"kind": "Deployment", "metadata": metadata | more, "spec": {"version": version}}


def store(*told: Object) -> Store:
    known = Store()
    for body in told:
        known.see_child(KEY, body)
    return known


def version(known: Store, uid: str = "uid-1") -> int | None:
    found = known.children(KEY, uid)[0].get(("Deployment", "support-gateway"))
    return None if found is None else int(found["spec"]["version"])


@pytest.mark.parametrize(("first", "second", "expected"), [(5, 7, 7), (9, 7, 9), (9, 10, 10), (99, 100, 100)])
def test_the_newer_counts(first: int, second: int, expected: int) -> None:
    """A watch tells late of what our own write has answered."""
    assert version(store(child(first), child(second))) == expected


def test_only_what_is_new_is_news() -> None:
    known = Store()
    assert [known.see_child(KEY, child(v)) for v in (5, 5, 4, 6)] == [True, False, False, True]


def test_what_is_gone_is_not_known_any_more() -> None:
    known = store(child(7))
    known.child_gone(KEY, "Deployment", "support-gateway", "an earlier one")
    known.child_gone(("team", "other"), "Deployment", "support-gateway", "c-1")
    assert version(known) == 7
    known.child_gone(KEY, "Deployment", "support-gateway", "c-1")
    assert version(known) is None
    known.child_gone(KEY, "Deployment", "support-gateway", "c-1")


@pytest.mark.parametrize("made", ["2026-11-22T12:00:00Z", "2026-11-22T12:00:01Z"])
def test_another_object_of_the_same_name_is_told_by_its_uid(made: str) -> None:
    first, second = child(50, uid="c-1"), child(57, uid="c-2", made=made)
    for told in ((first, second), (second, first)):
        assert version(store(*told)) == 57, "also where both were made in one second"


def test_what_a_list_does_not_have_is_gone_unless_it_is_younger() -> None:
    other = ("team", "other")
    known = store(child(5), child(5, name="listed"), child(9, name="younger"), {**child(5), "kind": "Job"})
    known.see_child(other, child(5, name="theirs"))
    there = {(KEY, "listed"), (KEY, "theirs")}
    assert known.missed("Deployment", there, 7, "elsewhere") == ()
    assert sorted(known.missed("Deployment", there, 7)) == [other, KEY]
    assert sorted(known.children(KEY, "uid-1")[0]) == [
        ("Deployment", "listed"),
        ("Deployment", "younger"),
        ("Job", "support-gateway"),
    ]
    assert known.missed("Deployment", there, 7) == ()


def test_a_deployment_that_is_not_listed_is_gone_too() -> None:
    known = Store()
    known.see(resource(5))
    assert known.missed(KIND, {(KEY, "support")}, 7) == ()
    assert known.missed(KIND, set(), 4) == ()
    assert known.missed(KIND, set(), 7) == (KEY,)
    assert known.resource(KEY) is None


@pytest.mark.parametrize(
    ("owners", "ours"),
    [
        ([{"kind": KIND, "name": "support", "uid": "uid-1", "controller": True}], True),
        ([], True),
        (None, True),
        ([{"uid": "uid-0", "controller": True}], False),
        ([{"uid": "uid-0"}, {"uid": "uid-1", "controller": True}], True),
        ([{"uid": "deployment-of-ours", "controller": True}], False),
    ],
)
def test_children_are_those_that_hang_on_this_very_deployment(owners: Any, ours: bool) -> None:
    known = store(child(5, ownerReferences=owners))
    assert (version(known) == 5) is ours


def test_pods_hang_on_something_else_and_are_known_all_the_same() -> None:
    pod = {**child(5, ownerReferences=[{"uid": "a-replicaset", "controller": True}]), "kind": "Pod"}
    known = store(pod)
    found, pods = known.children(KEY, "uid-1")
    assert (found, [p["metadata"]["uid"] for p in pods]) == ({}, ["c-1"])


def resource(version_: int, **more: Any) -> Object:
    return {"kind": "AgentDeployment", "metadata": {**child(version_)["metadata"], "name": "support", **more}}


def test_an_old_event_does_not_undo_our_own_answer() -> None:
    known = store()
    known.see(resource(9))
    known.see(resource(10))
    known.see(resource(9))
    seen = known.resource(KEY)
    assert seen is not None
    assert seen["metadata"]["resourceVersion"] == "10"
    assert "managedFields" not in seen["metadata"]
    assert known.deployments() == (KEY,)


def test_a_deployment_made_anew_is_another_one() -> None:
    known = store()
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
    known = store(child(5))
    known.children(KEY, "uid-1")[0]["Deployment", "support-gateway"]["spec"]["version"] = 99
    assert version(known) == 5


def test_whose_an_object_is_says_its_label() -> None:
    assert owner_of(child(1)) == KEY
    assert owner_of({"kind": "Pod", "metadata": {"namespace": "team", "name": "x", "labels": None}}) is None
    assert owner_of(child(1, ownerReferences=None)) == KEY
    theirs = child(1, ownerReferences=[{"kind": "Deployment", "uid": "d-1", "controller": True}])
    assert owner_of(theirs) is None, "a Deployment's ReplicaSet has the labels of its pods, and those are ours"
    assert owner_of({**theirs, "kind": "Pod"}) == KEY
    assert owner_of(child(1, labels={"herald.dev/deployment": "another"})) == KEY, "anybody may change a label"
