"""How many pods there are: the spec's number, or an autoscaler's, and never too few on the way between them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster.operator.places import Place, soon

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]

_BOTH: dict[str, Any] = {"agent__autoscaling": {"min": 2, "max": 8}, "gateway__autoscaling": {"min": 2, "max": 8}}
_GATEWAY = ("Deployment", "support-gateway")


async def test_an_autoscaler_has_the_last_word(place: Place) -> None:
    resource = await place.created(**_BOTH)
    crew = ("ReplicaSet", f"support-{resource['status']['activeRevision']}")
    for (kind, name), scaler in ((_GATEWAY, "support-gateway"), (crew, "support-agent")):
        found = await place.get("HorizontalPodAutoscaler", scaler)
        target = found["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == (kind, name)
        await place.api.scale(kind, place.namespace, name, 5)
    # Something that makes the operator write both again: what it did not touch then, it leaves alone.
    await place.change(logLevel="debug")
    await soon(lambda: _written_again(place, _GATEWAY), what="the gateway's template is new")
    await soon(lambda: _written_again(place, crew), what="the workers' template is new")
    await place.settled()
    assert [await _replicas(place, key) for key in (_GATEWAY, crew)] == [5, 5]


async def test_a_candidate_is_as_large_as_who_answers_now(place: Place) -> None:
    resource = await place.created(**_BOTH)
    await place.api.scale("ReplicaSet", place.namespace, f"support-{resource['status']['activeRevision']}", 6)
    await place.change(instructions="Other.", rollout__autoPromote=False)
    await place.says("Progressing", "False", "WaitingForPromotion")
    crew = ("ReplicaSet", f"support-{await place.wanted()}")
    assert await _replicas(place, crew) == 6
    await place.annotate(promote="true")
    await place.settled()
    assert await _replicas(place, crew) == 6
    scaler = await place.get("HorizontalPodAutoscaler", "support-agent")
    assert scaler["spec"]["scaleTargetRef"]["name"] == crew[1]


async def test_from_a_number_to_an_autoscaler_and_back_without_a_dip(place: Place) -> None:
    resource = await place.created(agent__replicas=4, gateway__replicas=4)
    crew = ("ReplicaSet", f"support-{resource['status']['activeRevision']}")
    async with _never_below(place, 3, _GATEWAY, crew):
        await place.change(
            agent={"replicas": None, "autoscaling": {"min": 3, "max": 8}},
            gateway={"replicas": None, "autoscaling": {"min": 3, "max": 8}},
        )
        await soon(lambda: _scalers(place, 2), what="autoscalers are there")
        await place.settled()
        assert [await _replicas(place, key) for key in (_GATEWAY, crew)] == [4, 4]
        await place.change(
            agent={"replicas": 3, "autoscaling": None},
            gateway={"replicas": 3, "autoscaling": None},
        )
        await soon(lambda: _scalers(place, 0), what="autoscalers are gone")
        await soon(lambda: _are(place, 3, _GATEWAY, crew), what="3 of each")


async def test_kubectl_scale_is_the_number_of_workers(place: Place) -> None:
    resource = await place.created(agent__replicas=2)
    await place.api.scale("AgentDeployment", place.namespace, "support", 3)
    crew = ("ReplicaSet", f"support-{resource['status']['activeRevision']}")
    await soon(lambda: _are(place, 3, crew), what="3 workers")
    await place.until(lambda r: r["status"]["replicas"] == 3, what="status.replicas")


async def test_a_number_by_hand_on_a_child_does_not_last(place: Place) -> None:
    resource = await place.created(agent__replicas=2, gateway__replicas=2)
    crew = ("ReplicaSet", f"support-{resource['status']['activeRevision']}")
    for kind, name in (_GATEWAY, crew):
        await place.api.scale(kind, place.namespace, name, 7)
    await soon(lambda: _are(place, 2, _GATEWAY, crew), what="2 of each again")


async def _written_again(place: Place, key: tuple[str, str]) -> bool:
    body = await place.get(*key)
    return int(body["metadata"]["generation"]) > 3 and "debug" in str(
        (await place.get("ConfigMap", "support-gateway"))["data"]
    )


async def _replicas(place: Place, key: tuple[str, str]) -> int:
    return int((await place.get(*key))["spec"]["replicas"])


async def _are(place: Place, count: int, *keys: tuple[str, str]) -> bool:
    return all([await _replicas(place, key) == count for key in keys])


async def _scalers(place: Place, count: int) -> bool:
    return len(await place.api.list("HorizontalPodAutoscaler", place.namespace)) == count


@contextlib.asynccontextmanager
async def _never_below(place: Place, least: int, *keys: tuple[str, str]) -> AsyncIterator[None]:
    """Every change of these is looked at, not only where it ends."""
    version = (await place.annotate(watched="yes"))["metadata"]["resourceVersion"]
    seen: list[tuple[str, int]] = []

    async def follow(kind: str, name: str) -> None:
        async for _, body in place.api.watch(kind, place.namespace, version):
            if body["metadata"]["name"] == name:
                seen.append((name, int(body["spec"]["replicas"])))

    tasks = [asyncio.create_task(follow(*key)) for key in keys]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert {name for name, _ in seen} == {name for _, name in keys}
    assert [s for s in seen if s[1] < least] == []
