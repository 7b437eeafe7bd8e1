"""What others have written where the operator reads: foreign objects, status, annotations, records."""

import json
from typing import Any

import nats
import pytest

from herald_contracts.subjects import Names
from tests.cluster.operator.api import Object
from tests.cluster.operator.operators import Operator
from tests.cluster.operator.places import Place, conditions_of, soon

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]

_TAKEN: list[tuple[str, Object]] = [
    ("ConfigMap", {"data": {"gateway.json": "mine"}}),
    ("Service", {"spec": {"ports": [{"port": 80}], "selector": {"app": "mine"}}}),
]


@pytest.mark.parametrize(("kind", "content"), _TAKEN, ids=[kind for kind, _ in _TAKEN])
async def test_an_object_of_somebody_else_is_named_and_not_taken(place: Place, kind: str, content: Object) -> None:
    before = await place.put(_named(kind, "support-gateway", content))
    await place.create(place.document())
    said = await place.says("Ready", "False", "ApplyFailed")
    assert f"there is already a {kind} 'support-gateway' that is not ours" in said["message"]
    assert await place.get(kind, "support-gateway") == before
    await place.delete()
    assert await place.get(kind, "support-gateway") == before


async def test_once_it_is_out_of_the_way_the_deployment_goes_on(place: Place) -> None:
    await place.put(_named("ConfigMap", "support-gateway", {"data": {"a": "b"}}))
    await place.create(place.document())
    await place.says("Ready", "False", "ApplyFailed")
    await place.api.delete("ConfigMap", place.namespace, "support-gateway")
    await place.settled()


@pytest.mark.parametrize("name", ["support-operator", "support-postgres", "support-web-session"])
async def test_a_secret_of_somebody_else_is_named_and_not_taken(place: Place, name: str) -> None:
    before = await place.put(_named("Secret", name, {"data": {"precious": "eA=="}}))
    await place.create(place.document(deletionPolicy="Delete"))
    said = await place.says("Ready", "False", "ApplyFailed")
    assert f"there is already a Secret '{name}' that is not ours" in said["message"]
    assert await place.get("Secret", name) == before
    await place.delete()
    assert await place.get("Secret", name) == before


async def test_a_child_of_another_deployment_is_not_taken(place: Place) -> None:
    """`a` has a child `a-b-gateway` where `a-b` wants one of its own: names may meet."""
    owner = await place.create(place.document("other"))
    reference = {
        "apiVersion": "herald.dev/v1alpha1",
        "kind": "AgentDeployment",
        "name": "other",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    body = _named("ConfigMap", "support-gateway", {"data": {"a": "b"}})
    body["metadata"] |= {"ownerReferences": [reference], "labels": {"herald.dev/deployment": "support"}}
    before = await place.put(body)
    await place.create(place.document())
    await place.says("Ready", "False", "ApplyFailed")
    assert (await place.get("ConfigMap", "support-gateway"))["data"] == before["data"]


async def test_a_status_that_somebody_else_has_written(place: Place, operator: Operator) -> None:
    before = await place.created()
    foreign = {
        "type": "Approved",
        "status": "Unknown",
        "reason": "SomebodyElse",
        "message": "is of another controller",
        "lastTransitionTime": "2020-01-01T00:00:00Z",
    }
    ours = {**foreign, "type": "Ready", "status": "False", "lastTransitionTime": "2999-01-01T00:00:00Z"}
    said: Object = {
        "conditions": [foreign, ours],
        "activeRevision": "nonsense",
        "candidateRevision": "v1-nobody",
        "history": [{"revision": "v1-nobody", "number": 99, "outcome": "Successful"}],
        "observedGeneration": 77,
        "phase": "Purple",
        "replicas": 99,
    }
    await _write_status(place, said)
    await place.until(lambda r: r["status"]["phase"] == "Ready" and r["status"]["observedGeneration"] == 1, what="ours")
    after = await place.settled()
    assert conditions_of(after)["Approved"] == foreign
    for field in ("activeRevision", "history", "replicas", "components"):
        assert after["status"][field] == before["status"][field]
    # All of it gone: everything is known from elsewhere.
    await _write_status(place, None)
    after = await place.settled()
    assert after["status"]["history"] == before["status"]["history"]
    assert operator.running


async def test_annotations_that_make_no_sense(place: Place) -> None:
    before = await place.created()
    revision = before["status"]["activeRevision"]
    for name, value in {
        "rollback_to": "../../etc/passwd",
        "retry": "",
        "abort": "no",
        "promote": "\u0000".strip("\u0000") + "maybe",
    }.items():
        await place.annotate(**{name: value})
    await place.until(
        lambda r: (
            not {"retry", "abort", "promote", "rollback-to"}
            & {a.removeprefix("herald.dev/") for a in r["metadata"].get("annotations", {})}
        ),
        what="all consumed",
    )
    notes = {"promoted": "yesterday", "outcome": "Maybe", "started": "-1", "approved": "si", "target": "moon"}
    change = {"metadata": {"annotations": {f"herald.dev/{k}": v for k, v in notes.items()}}}
    await place.api.merge("ControllerRevision", place.namespace, f"support-{revision}", change)
    after = await place.settled()
    assert after["status"]["activeRevision"] == revision
    await place.change(instructions="Other.")
    assert (await place.settled())["status"]["activeRevision"] == await place.wanted()


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[]", b'{"active": 7}', None], ids=repr)
async def test_a_rollout_record_that_makes_no_sense_or_is_gone(place: Place, content: bytes | None) -> None:
    before = await place.created()
    names = Names(place.namespace, "support")
    client = await nats.connect(place.nats.url)
    try:
        if content is None:
            await client.jetstream().delete_key_value(names.rollout_bucket)
        else:
            bucket = await client.jetstream().key_value(names.rollout_bucket)
            await bucket.put(names.rollout_key, content)
    finally:
        await client.close()
    await place.change(instructions="Other.")
    after = await place.settled()
    record = await place.record()
    assert record is not None
    assert (
        record.active == after["status"]["activeRevision"] == await place.wanted() != before["status"]["activeRevision"]
    )


async def test_a_revision_of_a_herald_that_nobody_knows(place: Place) -> None:
    """Its workers stay until somebody else answers: nobody knows how to make them again."""
    before = await place.created()
    old = f"support-{before['status']['activeRevision']}"
    await _garbled(place, old)
    await place.change(paused=None, instructions="Other.", rollout__autoPromote=False)
    await place.says("Progressing", "False", "WaitingForPromotion")
    assert len(await place.pods("agent")) == 4
    assert (await place.get("ReplicaSet", old))["status"]["availableReplicas"] == 2
    await place.annotate(promote="true")
    await place.settled()


async def test_the_wanted_revision_is_stored_anew_when_nobody_can_read_it(place: Place) -> None:
    """An API server changes no data of a ControllerRevision: for ever it would refuse what is applied."""
    before = await place.created()
    name = f"support-{before['status']['activeRevision']}"
    crew = await place.get("ReplicaSet", name)
    readable = await _garbled(place, name)
    await place.change(paused=None)

    async def anew() -> bool:
        found = await place.find("ControllerRevision", name)
        return found is not None and found["data"] == readable["data"]

    await soon(anew, what="it can be read")
    after = await place.settled()
    assert after["status"]["history"] == before["status"]["history"]
    assert (await place.get("ReplicaSet", name))["metadata"]["uid"] == crew["metadata"]["uid"]


async def _garbled(place: Place, name: str) -> Object:
    """Data that no Herald knows, in a deployment that is paused now; the result is how it was."""
    body = await place.get("ControllerRevision", name)
    await place.change(paused=True)
    await place.until(lambda r: r["status"]["phase"] == "Paused", what="paused")
    await place.api.delete("ControllerRevision", place.namespace, name)
    kept = {k: body["metadata"][k] for k in ("name", "namespace", "labels", "annotations", "ownerReferences")}
    await place.api.create({**body, "metadata": kept, "data": {"version": 99, "surprise": True}})
    return body


def _named(kind: str, name: str, content: Object) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **json.loads(json.dumps(content))}


async def _write_status(place: Place, status: Object | None) -> None:
    await place.api.merge("AgentDeployment", place.namespace, "support", {"status": status}, "status")
