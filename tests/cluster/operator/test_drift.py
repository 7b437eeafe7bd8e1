"""What somebody changes by hand on a child is put right, but for what is none of our business."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from herald_operator.contest import WINDOW
from tests.cluster.operator.api import Object
from tests.cluster.operator.places import SECONDS, Place, conditions_of, soon

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]

_SIDECAR = {
    "name": "mesh",
    "image": "mesh:1",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


async def test_every_child_that_is_deleted_comes_back(place: Place) -> None:
    resource = await place.created()
    revision = resource["status"]["activeRevision"]
    before = _mine(resource, await place.children())
    # Secrets are not watched: what only the next look at everything would bring is tested elsewhere. A Job that has
    # done its work is not done again while what it was for is there.
    gone = [key for key in before if key[0] not in ("Secret", "PersistentVolumeClaim")]
    for kind, name in gone:
        await place.api.delete(kind, place.namespace, name)

    async def back() -> bool:
        now = _mine(resource, await place.children())
        same = {key for key in before if key in now and now[key]["metadata"]["uid"] == before[key]["metadata"]["uid"]}
        return set(now) == set(before) and not same & set(gone)

    await soon(back, what="all children are there again, as others")
    after = await place.settled()
    assert after["status"]["activeRevision"] == revision
    record = await place.record()
    assert record is not None
    assert record.active == revision


async def test_what_is_ours_is_put_right_and_what_is_not_stays(place: Place) -> None:
    resource = await place.created()
    revision = resource["status"]["activeRevision"]
    crew = f"support-{revision}"
    before = _specs(await place.children())
    api, there = place.api, place.namespace

    def container(name: str, **changes: object) -> Object:
        return {"spec": {"template": {"spec": {"containers": [{"name": name, **changes}]}}}}

    await api.strategic("Deployment", there, "support-gateway", container("gateway", image="evil:1", args=["--evil"]))
    await api.strategic("ReplicaSet", there, crew, container("agent", image="evil:1"))
    await api.strategic("StatefulSet", there, "support-postgres", container("postgres", livenessProbe=None))
    await api.merge(
        "Service", there, "support-gateway", {"spec": {"selector": {"app.kubernetes.io/component": "agent"}}}
    )
    await api.merge("ConfigMap", there, "support-gateway", {"data": {"gateway.json": "{}"}})
    await api.merge("ConfigMap", there, crew, {"data": {"agent.json": "{}"}})
    await api.merge("NetworkPolicy", there, "support-closed", {"spec": {"ingress": [{}]}})
    await api.merge("PodDisruptionBudget", there, "support-agent", {"spec": {"maxUnavailable": 2}})
    await api.merge("Service", there, "support-postgres", {"metadata": {"ownerReferences": None}})
    labels = {"herald.dev/deployment": "support", "app.kubernetes.io/component": "elsewhere"}
    await api.merge("ServiceAccount", there, "support", {"metadata": {"labels": labels}})

    async def wrong() -> list[str]:
        now = _specs(await place.children())
        return [f"{key}: {now.get(key)}, not {wanted}" for key, wanted in before.items() if now.get(key) != wanted]

    try:
        await soon(lambda: _none(wrong), what="everything is as it was")
    except AssertionError:
        assert await wrong() == []
        raise
    await place.settled()


async def test_what_others_add_stays_also_when_we_write_again(place: Place) -> None:
    await place.created()
    api, there = place.api, place.namespace
    noted = {"metadata": {"labels": {"team": "blue"}, "annotations": {"example.com/note": "mine"}}}
    for kind, name in (
        ("Deployment", "support-gateway"),
        ("Service", "support-gateway"),
        ("StatefulSet", "support-postgres"),
    ):
        await api.merge(kind, there, name, noted)
    template = {
        **noted,
        "spec": {"containers": [_SIDECAR, {"name": "gateway", "env": [{"name": "MESH", "value": "1"}]}]},
    }
    await api.strategic("Deployment", there, "support-gateway", {"spec": {"template": template}})
    await place.change(logLevel="debug")

    async def written() -> bool:
        return '"debug"' in (await place.get("ConfigMap", "support-gateway"))["data"]["gateway.json"]

    await soon(written, what="the new settings")
    await place.settled()
    gateway = await place.get("Deployment", "support-gateway")
    containers = {c["name"]: c for c in gateway["spec"]["template"]["spec"]["containers"]}
    assert set(containers) == {"gateway", "mesh"}
    assert {"name": "MESH", "value": "1"} in containers["gateway"]["env"]
    assert gateway["spec"]["template"]["metadata"]["labels"]["team"] == "blue"
    for kind, name in (
        ("Deployment", "support-gateway"),
        ("Service", "support-gateway"),
        ("StatefulSet", "support-postgres"),
    ):
        metadata = (await place.get(kind, name))["metadata"]
        assert (metadata["labels"]["team"], metadata["annotations"]["example.com/note"]) == ("blue", "mine")


async def test_a_fight_is_said_with_its_child_and_the_status_goes_on(place: Place) -> None:
    """Another controller that has its own idea, for ever: an autoscaler that somebody put on our Deployment, say."""
    await place.created()
    name = "support-gateway"
    service = {"spec": {"selector": {"app.kubernetes.io/component": "agent"}}}
    before = await place.api.merge("Service", place.namespace, name, service)

    async def fight() -> None:
        async for _, body in place.api.watch("Service", place.namespace, before["metadata"]["resourceVersion"]):
            component = body["spec"]["selector"].get("app.kubernetes.io/component")
            if body["metadata"]["name"] == name and component != "agent":
                await place.api.merge("Service", place.namespace, name, service)

    async with asyncio.timeout(120):
        fighter = asyncio.create_task(fight())
        try:
            said = await place.until(lambda r: f"changes Service {name} again" in _ready(r)["message"], what="its name")
            assert _ready(said)["status"] == "True"
            changed = await place.change(logLevel="debug")
            generation = changed["metadata"]["generation"]
            await place.until(lambda r: r["status"]["observedGeneration"] == generation, what="the status")
        finally:
            fighter.cancel()
            await asyncio.gather(fighter, return_exceptions=True)
    await place.until(lambda r: "again" not in _ready(r)["message"], what="peace", within=WINDOW + SECONDS)
    await place.settled()


async def test_a_pod_that_is_deleted_or_fails_is_replaced_without_a_new_revision(place: Place) -> None:
    resource = await place.created()
    for component in ("gateway", "agent", "inference", "postgres"):
        for pod in await place.pods(component):
            await place.api.delete("Pod", place.namespace, pod["metadata"]["name"])
    await place.until(lambda r: r["status"]["phase"] == "Ready", what="ready again")
    after = await place.settled()
    assert after["status"]["history"] == resource["status"]["history"]


async def _none(wrong: Callable[[], Awaitable[list[str]]]) -> bool:
    return not await wrong()


def _mine(resource: Object, children: dict[tuple[str, str], Object]) -> dict[tuple[str, str], Object]:
    uid = resource["metadata"]["uid"]
    return {
        key: body
        for key, body in children.items()
        if uid in [r["uid"] for r in body["metadata"].get("ownerReferences", ())]
    }


def _specs(children: dict[tuple[str, str], Object]) -> dict[tuple[str, str], Object]:
    """Of children that hang on the deployment: all but what other controllers and the clock write."""
    made = {}
    for key, body in children.items():
        if any(r["kind"] != "AgentDeployment" for r in body["metadata"].get("ownerReferences", ())):
            continue
        metadata = {k: body["metadata"].get(k) for k in ("labels", "ownerReferences")}
        made[key] = {**{k: v for k, v in body.items() if k not in ("metadata", "status")}, "metadata": metadata}
    return made


def _ready(resource: Object) -> Object:
    return conditions_of(resource)["Ready"]
