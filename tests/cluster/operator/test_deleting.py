"""How a deployment goes, what stays, and the next one of that name."""

import asyncio

import pytest

from tests.cluster.operator.api import Object
from tests.cluster.operator.places import CHILDREN, Place, soon

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_what_stays(place: Place, policy: str) -> None:
    await place.created(deletionPolicy=policy)
    await place.delete()
    kept = {("PersistentVolumeClaim", "data-support-postgres-0"), ("Secret", "support-postgres")}
    await soon(lambda: _left(place, kept if policy == "Retain" else set()), what=f"only what {policy} leaves is left")


@pytest.mark.parametrize(("first", "policy"), [("Delete", "Retain"), ("Retain", "Delete")])
async def test_what_stays_is_what_was_asked_for_last(place: Place, first: str, policy: str) -> None:
    """Kept data without the password that opens it are lost."""
    await place.created(deletionPolicy=first)
    await place.change(deletionPolicy=policy)
    await place.settled()
    await place.delete()
    kept = {("PersistentVolumeClaim", "data-support-postgres-0"), ("Secret", "support-postgres")}
    await soon(lambda: _left(place, kept if policy == "Retain" else set()), what=f"only what {policy} leaves is left")


async def test_what_stays_is_what_was_asked_for_last_even_where_nobody_was_told(place: Place) -> None:
    """While it is paused no child is changed: its StatefulSet still says that the data go."""
    await place.created(deletionPolicy="Delete")
    await place.change(paused=True)
    await place.settled()
    await place.change(deletionPolicy="Retain")
    await place.delete()
    kept = {("PersistentVolumeClaim", "data-support-postgres-0"), ("Secret", "support-postgres")}
    await soon(lambda: _left(place, kept), what="the data are left")
    volume = await place.get("PersistentVolumeClaim", "data-support-postgres-0")
    assert "deletionTimestamp" not in volume["metadata"]


async def test_the_next_of_that_name_opens_the_data_that_was_kept(place: Place) -> None:
    first = await place.created()
    secret = await place.get("Secret", "support-postgres")
    volume = await place.get("PersistentVolumeClaim", "data-support-postgres-0")
    await place.api.delete("AgentDeployment", place.namespace, "support")
    await place.gone()
    # Children of the first may still be leaving.
    second = await place.created(instructions="Other.")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert (await place.get("Secret", "support-postgres"))["data"] == secret["data"]
    assert (await place.get("PersistentVolumeClaim", "data-support-postgres-0"))["metadata"]["uid"] == (
        volume["metadata"]["uid"]
    )
    assert {h["revision"] for h in second["status"]["history"]} == {await place.wanted()}
    await soon(lambda: _nothing_of(place, first), what="no child of the first is left")


async def test_the_gateway_leaves_first_then_the_workers_then_the_rest(place: Place) -> None:
    await place.created(agent__autoscaling={"min": 2, "max": 4}, gateway__autoscaling={"min": 2, "max": 4})
    gateway, worker = [(await place.pods(c))[0]["metadata"]["name"] for c in ("gateway", "agent")]
    for pod in (gateway, worker):
        await _finalizers(place, pod, ["example.com/still-at-work"])
    await place.api.delete("AgentDeployment", place.namespace, "support")
    await soon(lambda: _is_leaving(place, gateway), what="the gateway is asked to leave")
    await place.until(lambda r: r["status"]["phase"] == "Deleting", what="it says so")
    assert not await _is_leaving(place, worker)
    assert await place.api.list("HorizontalPodAutoscaler", place.namespace) == []
    await _finalizers(place, gateway, None)
    await soon(lambda: _is_leaving(place, worker), what="the workers are asked to leave")
    for component in ("postgres", "inference"):
        assert [p for p in await place.pods(component) if p["metadata"].get("deletionTimestamp")] == []
    assert await place.find("AgentDeployment", "support") is not None
    await _finalizers(place, worker, None)
    await place.gone()


async def test_one_that_was_just_begun_goes_at_once(place: Place) -> None:
    for moment in range(4):
        name = f"short-{moment}"
        await place.create(place.document(name, deletionPolicy="Delete"))
        # Somewhere in the middle of being created: after nothing, or after so many children.
        await soon(lambda name=name, moment=moment: _at_least(place, name, moment * 6), what="begun")  # type: ignore[misc]
        await place.api.delete("AgentDeployment", place.namespace, name)
    for moment in range(4):
        await place.gone(f"short-{moment}")
        # Kubernetes' own collector asks every half a minute which kinds there are, and is slower each time in between.
        await _nothing_left(place, f"short-{moment}")


async def test_one_that_was_never_accepted_goes_too(place: Place) -> None:
    await place.create(place.document(instructions=None, instructionsFrom={"name": "nowhere", "key": "it"}))
    await place.says("Accepted", "False", "ReferenceMissing")
    await place.delete()


async def test_deleted_and_created_again_at_once(place: Place) -> None:
    first = await place.created()
    await place.api.delete("AgentDeployment", place.namespace, "support")
    while await place.find("AgentDeployment", "support") is not None:
        await asyncio.sleep(0)
    second = await place.created()
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    await soon(lambda: _nothing_of(place, first), what="no child of the first is left")
    assert (await place.settled())["status"]["replicas"] == 2


async def test_in_the_middle_of_a_rollout(place: Place) -> None:
    await place.created(rollout__autoPromote=False, deletionPolicy="Delete")
    await place.change(instructions="Other.")
    await place.says("Progressing", "False", "WaitingForPromotion")
    await place.delete()
    await soon(lambda: _left(place, set()), what="nothing is left")


async def test_with_its_namespace(place: Place) -> None:
    await place.created()
    await place.api.delete("Namespace", "", place.namespace)

    async def gone() -> bool:
        return await place.api.find("Namespace", "", place.namespace) is None

    await soon(gone, what="the namespace is gone")


async def _nothing_left(place: Place, name: str) -> None:
    try:
        await soon(lambda: _left(place, set(), name), what="nothing is left", within=180)
    except AssertionError:
        raise AssertionError(f"left: {set(await place.children(name)) | await _volumes(place, name)}") from None


async def _left(place: Place, names: set[tuple[str, str]], name: str = "support") -> bool:
    return set(await place.children(name)) | await _volumes(place, name) == names


async def _volumes(place: Place, name: str) -> set[tuple[str, str]]:
    found = await place.api.list("PersistentVolumeClaim", place.namespace)
    return {("PersistentVolumeClaim", str(v["metadata"]["name"])) for v in found if name in v["metadata"]["name"]}


async def _at_least(place: Place, name: str, count: int) -> bool:
    return len(await place.children(name)) >= count


async def _nothing_of(place: Place, resource: Object) -> bool:
    uid = resource["metadata"]["uid"]
    for kind in CHILDREN:
        for body in await place.api.list(kind, place.namespace):
            if uid in [r["uid"] for r in body["metadata"].get("ownerReferences", ())]:
                return False
    return True


async def _is_leaving(place: Place, pod: str) -> bool:
    return "deletionTimestamp" in (await place.get("Pod", pod))["metadata"]


async def _finalizers(place: Place, pod: str, names: list[str] | None) -> None:
    """With one, as a pod that takes its time to leave."""
    await place.api.merge("Pod", place.namespace, pod, {"metadata": {"finalizers": names}})
