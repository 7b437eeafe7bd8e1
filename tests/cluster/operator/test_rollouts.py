"""A change of what shapes answers: candidate, switch, the way back, and what a candidate that fails leaves alone."""

import asyncio
import contextlib

import pytest

from herald_contracts.rollout import Rollout
from tests.cluster.operator.api import Object
from tests.cluster.operator.places import Place, conditions_of, soon

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]


async def test_a_change_takes_over_once_its_workers_are_there(place: Place) -> None:
    before = await place.created()
    old, models = before["status"]["activeRevision"], await _models(place)
    seen: list[tuple[str, Rollout | None, int]] = []
    watching = asyncio.create_task(_follow_crews(place, seen, before["metadata"]["resourceVersion"]))
    await place.change(instructions="You answer questions about plants.")
    after = await place.settled()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    new = await place.wanted()
    assert (after["status"]["activeRevision"], after["status"]["stableRevision"]) == (new, new)
    record = await place.record()
    assert record is not None
    assert (record.active, record.candidate, record.stable) == (new, "", new)
    # The old workers stayed in full number until the record named the new ones.
    assert {revision for revision, *_ in seen} == {old, new}
    assert [s for s in seen if s[0] == old and s[1] is not None and s[1].active == old and s[2] < 2] == []
    # The model is the same one: a prompt does not double the GPUs.
    assert await _models(place) == models
    history = after["status"]["history"]
    assert [(h["revision"], h["outcome"]) for h in history] == [(new, "Successful"), (old, "Successful")]
    assert ("ControllerRevision", f"support-{old}") in await place.children()


async def test_the_old_revision_stays_for_a_quick_way_back(place: Place) -> None:
    before = await place.created(rollout__scaleDownDelaySeconds=6)
    old = before["status"]["activeRevision"]
    await place.change(instructions="Other.")
    new = await place.wanted()
    switched = await place.until(lambda r: r["status"]["activeRevision"] == new, what="switched")
    assert set(await place.crews()) == {old, new}
    # Not proved yet: stable is whoever was proved before.
    assert switched["status"]["stableRevision"] == old
    await place.change(instructions=before["spec"]["instructions"])
    again = await place.until(lambda r: r["status"]["activeRevision"] == old, what="switched back", within=10)
    assert conditions_of(again)["Ready"]["status"] == "True"
    await place.settled()


async def test_a_candidate_that_no_node_takes_is_given_up_and_the_old_one_answers(place: Place) -> None:
    before = await place.created(rollout__progressDeadlineSeconds=10)
    old = before["status"]["activeRevision"]
    await place.change(instructions="Other.", agent__resources={"requests": {"cpu": "5000"}})
    new = await place.wanted()
    failed = await place.says("Promoted", "False", "RevisionFailed")
    assert (
        f"{new} was given up: not available within 10 s: no node can take the pod support-{new}-" in failed["message"]
    )
    resource = await place.resource()
    assert conditions_of(resource)["Progressing"]["reason"] == "Failed"
    assert conditions_of(resource)["Ready"]["status"] == "True"
    assert (resource["status"]["phase"], resource["status"]["activeRevision"]) == ("Degraded", old)
    await soon(lambda: _only(place, old), what="the failed workers are gone")
    record = await place.record()
    assert record is not None
    assert (record.active, record.candidate) == (old, "")
    # Still given up when somebody looks again; another spec is another chance.
    await place.annotate(unrelated="x")
    await place.change(instructions="Third.", agent__resources=None)
    assert (await place.settled())["status"]["phase"] == "Ready"


async def test_a_candidate_whose_pods_are_refused_says_so(place: Place) -> None:
    before = await place.created(rollout__progressDeadlineSeconds=10)
    count = len([p for p in await place.api.list("Pod", place.namespace) if p["status"]["phase"] == "Running"])
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}}
    await place.put({**quota, "spec": {"hard": {"count/pods": str(count + 1)}}})
    await place.change(instructions="Other.")
    failed = await place.says("Promoted", "False", "RevisionFailed")
    assert "its pods are refused" in failed["message"]
    assert "exceeded quota" in failed["message"]
    assert (await place.resource())["status"]["activeRevision"] == before["status"]["activeRevision"]
    await place.api.delete("ResourceQuota", place.namespace, "full")
    await place.annotate(retry="true")
    after = await place.settled()
    assert after["status"]["activeRevision"] == await place.wanted()
    assert "herald.dev/retry" not in after["metadata"].get("annotations", {})


async def test_people_decide_by_annotation(place: Place) -> None:
    before = await place.created(rollout__autoPromote=False)
    old = before["status"]["activeRevision"]
    await place.change(instructions="Other.")
    new = await place.wanted()
    waiting = await place.says("Progressing", "False", "WaitingForPromotion")
    assert "kubectl herald rollout promote" in waiting["message"]
    resource = await place.resource()
    assert (resource["status"]["phase"], resource["status"]["candidateRevision"]) == ("WaitingForPromotion", new)
    assert resource["status"]["activeRevision"] == old

    await place.annotate(abort="true")
    await place.says("Promoted", "False", "RevisionFailed")
    await soon(lambda: _only(place, old), what="the aborted workers are gone")

    await place.annotate(retry="true")
    await place.says("Progressing", "False", "WaitingForPromotion")
    generation = (await place.annotate(promote="true"))["metadata"]["generation"]
    after = await place.settled()
    assert after["status"]["activeRevision"] == new
    notes = after["metadata"].get("annotations", {})
    assert not {"herald.dev/abort", "herald.dev/retry", "herald.dev/promote"} & set(notes)

    await place.annotate(rollback_to=old)
    back = await place.until(lambda r: r["status"]["activeRevision"] == old, what="rolled back")
    assert back["metadata"]["generation"] == generation, "a rollback never writes the spec"
    said = await place.says("Promoted", "False", "RevisionFailed")
    assert f"rolled back to {old} by hand" in said["message"]
    await soon(lambda: _only(place, old), what="only the old workers")

    await place.annotate(rollback_to="v1-nobody")
    accepted = await place.until(lambda r: "v1-nobody" in conditions_of(r)["Accepted"]["message"], what="refused")
    assert old in conditions_of(accepted)["Accepted"]["message"]
    await place.change(instructions="Third.", rollout__autoPromote=True)
    assert (await place.settled())["status"]["activeRevision"] == await place.wanted()


async def test_only_the_last_successful_revisions_are_kept(place: Place) -> None:
    names = [(await place.created(rollout={"scaleDownDelaySeconds": 0, "revisionHistoryLimit": 2}))["status"]]
    for number in range(3):
        await place.change(instructions=f"Instructions {number}.")
        names.append((await place.settled())["status"])
    kept = [name for kind, name in await place.children() if kind == "ControllerRevision" and "-v1-" in name]
    assert sorted(kept) == sorted(f"support-{status['activeRevision']}" for status in names[-2:])
    assert [h["number"] for h in names[-1]["history"]][:2] == [4, 3]


async def _models(place: Place) -> list[tuple[str, str, int]]:
    found = await place.api.list(
        "Deployment",
        place.namespace,
        {"app.kubernetes.io/component": "inference"},
    )
    return [(d["metadata"]["name"], d["metadata"]["uid"], d["metadata"]["generation"]) for d in found]


async def _only(place: Place, revision: str) -> bool:
    return set(await place.crews()) == {revision}


async def _follow_crews(place: Place, seen: list[tuple[str, Rollout | None, int]], version: str) -> None:
    """For each change of a crew: whose it is, what the record said right after, and how many workers there were."""
    async for _, crew in place.api.watch("ReplicaSet", place.namespace, version):
        revision = _revision(crew)
        if revision:
            seen.append((revision, await place.record(), int(crew["status"].get("availableReplicas", 0))))


def _revision(crew: Object) -> str:
    return str(crew["metadata"]["labels"].get("herald.dev/revision", ""))
