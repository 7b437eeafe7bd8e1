"""spec.suspend stops everything and keeps all data; spec.paused has the operator look and change nothing."""

from typing import Any

import pytest

from tests.cluster.operator.places import Place, conditions_of, soon

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]


@pytest.mark.parametrize(
    "fields",
    [
        {"agent__replicas": 2},
        {"agent__autoscaling": {"min": 3, "max": 8}, "gateway__autoscaling": {"min": 3, "max": 8}},
    ],
    ids=["numbers", "autoscalers"],
)
async def test_suspend_stops_the_gateway_first_and_resume_brings_all_back(place: Place, fields: dict[str, Any]) -> None:
    before = await place.created(**fields)
    record, data = await place.record(), await _data(place)
    gateway = (await place.pods("gateway"))[0]["metadata"]["name"]
    await _hold(place, gateway)
    await place.change(suspend=True)
    said = await place.says("Ready", "False", "Suspended")
    assert "data is kept" in said["message"]
    await soon(lambda: _leaving(place, gateway), what="the gateway is asked to leave")
    # It may still hand over what it has accepted: its workers, and what they need, stay as long.
    assert await _running(place) >= {"agent", "inference", "postgres"}
    await _let_go(place, gateway)
    await soon(lambda: _nobody(place), what="no pod is left")
    assert await place.api.list("HorizontalPodAutoscaler", place.namespace) == []
    resource = await place.resource()
    assert (resource["status"]["phase"], resource["status"]["activeRevision"]) == (
        "Suspended",
        before["status"]["activeRevision"],
    )
    await place.change(suspend=False)
    after = await place.settled()
    assert after["status"]["activeRevision"] == before["status"]["activeRevision"]
    assert (await place.record(), await _data(place)) == (record, data)
    count = 3 if "gateway__autoscaling" in fields else 2
    await soon(lambda: _count(place, "agent", count), what="all workers")
    await soon(lambda: _count(place, "gateway", count), what="all gateways")


async def test_a_change_while_suspended_takes_over_after_it(place: Place) -> None:
    before = await place.created()
    await place.change(suspend=True)
    await soon(lambda: _nobody(place), what="no pod is left")
    await place.change(instructions="Other.")
    await place.until(lambda r: conditions_of(r)["Ready"]["observedGeneration"] == r["metadata"]["generation"])
    assert await _nobody(place)
    await place.change(suspend=False)
    after = await place.settled()
    assert after["status"]["activeRevision"] == await place.wanted() != before["status"]["activeRevision"]


async def test_paused_changes_nothing_until_it_is_over(place: Place) -> None:
    before = await place.created()
    await place.change(paused=True)
    await place.until(lambda r: r["status"]["phase"] == "Paused", what="paused")
    children = await place.children()
    await place.change(instructions="Other.")
    await place.api.delete("Service", place.namespace, "support-gateway")
    await place.annotate(rollback_to="v1-nobody")
    resource = await place.until(
        lambda r: conditions_of(r)["Progressing"]["observedGeneration"] == r["metadata"]["generation"], what="seen"
    )
    assert conditions_of(resource)["Progressing"]["reason"] == "Paused"
    assert resource["status"]["activeRevision"] == before["status"]["activeRevision"]
    now = await place.children()
    assert set(children) - set(now) == {("Service", "support-gateway")}
    assert set(now) <= set(children)
    assert (await place.resource())["metadata"]["annotations"]["herald.dev/rollback-to"] == "v1-nobody"
    await place.change(paused=None)
    await place.settled()
    assert ("Service", "support-gateway") in await place.children()


async def _data(place: Place) -> list[tuple[str, str]]:
    found = [
        *await place.api.list("PersistentVolumeClaim", place.namespace),
        *await place.api.list("Secret", place.namespace),
    ]
    return [(str(o["metadata"]["name"]), str(o["metadata"]["uid"])) for o in found]


async def _running(place: Place) -> set[str]:
    pods = [p for p in await place.api.list("Pod", place.namespace) if not p["metadata"].get("deletionTimestamp")]
    return {str(p["metadata"]["labels"]["app.kubernetes.io/component"]) for p in pods}


async def _nobody(place: Place) -> bool:
    pods = await place.api.list("Pod", place.namespace)
    return all(p["status"]["phase"] == "Succeeded" for p in pods)


async def _count(place: Place, component: str, count: int) -> bool:
    return len(await place.pods(component)) == count


async def _leaving(place: Place, name: str) -> bool:
    return "deletionTimestamp" in (await place.get("Pod", name))["metadata"]


async def _hold(place: Place, name: str) -> None:
    """As a pod that takes its time to leave."""
    await place.api.merge("Pod", place.namespace, name, {"metadata": {"finalizers": ["example.com/still-at-work"]}})


async def _let_go(place: Place, name: str) -> None:
    await place.api.merge("Pod", place.namespace, name, {"metadata": {"finalizers": None}})
