"""KEDA, the Gateway API and the Prometheus Operator may be installed later, and may go again."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.operator import operators
from tests.cluster.operator.api import Api
from tests.cluster.operator.operators import Operator
from tests.cluster.operator.places import Place, conditions_of, soon

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]

_APIS = (
    ("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects"),
    ("keda.sh", "v1alpha1", "TriggerAuthentication", "triggerauthentications"),
    ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
)
_MADE = {
    ("ScaledObject", "support-agent"),
    ("TriggerAuthentication", "support-agent"),
    ("HTTPRoute", "support-gateway"),
    ("PodMonitor", "support-gateway"),
    ("PodMonitor", "support-agent"),
}


@pytest.fixture(scope="module")
def operator(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One that asks every two seconds which APIs there are."""
    with operators.running(tmp_path_factory.mktemp("operator"), kubeconfig, "--resync=2") as made:
        yield made
    # kopf's own words about a type that it watches and that is gone.
    assert [line for line in made.complaints() if "404 page not found" not in line] == []


@pytest.fixture
async def no_apis(api: Api) -> AsyncIterator[None]:
    yield
    for group, _, _, plural in _APIS:
        await api.delete("CustomResourceDefinition", "", f"{plural}.{group}")


@pytest.mark.usefixtures("no_apis")
async def test_they_come_and_go(place: Place, api: Api, operator: Operator) -> None:
    route = {"httpRoute": {"parentRef": {"name": "public"}}}
    await place.created(agent__autoscaling={"max": 4}, gateway__host="chat.example.com", gateway__route=route)
    said = conditions_of(await place.resource())["IntegrationsReady"]
    assert (said["status"], said["reason"]) == ("False", "ApiMissing")
    assert "httpRoute needs the Gateway API" in said["message"]
    assert "without KEDA" in said["message"]
    assert await _scalers(place) == {"support-agent"}

    for group, version, kind, plural in _APIS:
        await api.create(_definition(group, version, kind, plural))
    await soon(lambda: _are_there(place, _MADE), what="what the APIs are for")
    await place.until(lambda r: "IntegrationsReady" not in conditions_of(r), what="nothing is missing")
    await soon(lambda: _no_scaler(place), what="one autoscaler, not two")
    route_ = await place.get("HTTPRoute", "support-gateway")
    assert route_["spec"]["hostnames"] == ["chat.example.com"]
    # They are watched like all others: what somebody changes is put right, and soon.
    await api.merge("HTTPRoute", place.namespace, "support-gateway", {"spec": {"hostnames": ["evil.example.com"]}})

    async def right() -> bool:
        return bool((await place.get("HTTPRoute", "support-gateway"))["spec"]["hostnames"] == ["chat.example.com"])

    await soon(right, what="the route is put right")

    async with _kept_running(operator):
        for group, _, _, plural in _APIS:
            await api.delete("CustomResourceDefinition", "", f"{plural}.{group}")
        await place.until(lambda r: "IntegrationsReady" in conditions_of(r), what="they are missed")
        await soon(lambda: _are_there(place, set()), what="nothing of them is left")
        await place.settled()
        assert await _scalers(place) == {"support-agent"}
        # And it still works.
        await place.change(instructions="Other.")
        await place.settled()
    assert set(operator.endings()) <= {"a type that was watched is not served any more"}


@contextlib.asynccontextmanager
async def _kept_running(operator: Operator) -> AsyncIterator[None]:
    """As Kubernetes does it. kopf may notice in time that a type went, or end because its watch did."""

    async def again() -> None:
        while True:
            await asyncio.sleep(0.1)  # the time between two looks
            if not operator.running:
                operator.start()

    keeping = asyncio.create_task(again())
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
    if not operator.running:
        operator.start()


async def _are_there(place: Place, names: set[tuple[str, str]]) -> bool:
    kinds = {kind for _, _, kind, _ in _APIS}
    return {key for key in await place.children() if key[0] in kinds} == names


async def _scalers(place: Place) -> set[str]:
    return {s["metadata"]["name"] for s in await place.api.list("HorizontalPodAutoscaler", place.namespace)}


async def _no_scaler(place: Place) -> bool:
    return await _scalers(place) == set()


def _definition(group: str, version: str, kind: str, plural: str) -> dict[str, Any]:
    """The least that has this name: what the real ones check is theirs to test."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    approved = {"api-approved.kubernetes.io": "unapproved, for a test"} if group.endswith("k8s.io") else {}
    made = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": approved},
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    copy: dict[str, Any] = json.loads(json.dumps(made))
    return copy
