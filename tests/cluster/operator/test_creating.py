"""From an AgentDeployment to what runs."""

from typing import Any

import pytest
from tools.cluster import Cluster

from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.rollout import Rollout
from herald_operator.build import secrets
from tests.cluster.operator.documents import LOGIN, smallest
from tests.cluster.operator.places import Place, soon
from tests.resource_documents import MANAGED, changed
from tests.servers import Nats

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]

_CONTROLLERS = ("ReplicaSet", "ControllerRevision")  # of which other controllers make their own


async def test_it_becomes_ready_with_exactly_these_children(place: Place) -> None:
    resource = await place.created()
    revision, found = await place.wanted(), await place.children()
    uid = resource["metadata"]["uid"]
    owners = {key: [r["uid"] for r in body["metadata"].get("ownerReferences", ())] for key, body in found.items()}
    names = {f"{kind}/{name}" for (kind, name), owner in owners.items() if owner in ([uid], [])}
    [unit] = [n.removeprefix("Deployment/") for n in names if n.startswith("Deployment/support-inference-")]
    [job] = [n for n in names if n.startswith("Job/support-migrate-")]
    assert names == {
        "ServiceAccount/support",
        "Secret/support-operator", "Secret/support-postgres", "Secret/support-web-session",
        "ConfigMap/support-gateway", f"ConfigMap/support-{revision}",
        "Service/support-gateway", "Service/support-postgres", f"Service/{unit}",
        "Deployment/support-gateway", f"Deployment/{unit}",
        "StatefulSet/support-postgres", "PersistentVolumeClaim/data-support-postgres-0",
        f"ReplicaSet/support-{revision}", f"ControllerRevision/support-{revision}",
        "PodDisruptionBudget/support-agent", "PodDisruptionBudget/support-gateway", job,
        *(f"NetworkPolicy/support-{n}" for n in
          ("agent", "closed", "gateway", "inference", "migration", "postgres")),
    }  # fmt: skip
    # The data, and the password that opens it.
    left_behind = {("PersistentVolumeClaim", "data-support-postgres-0"), ("Secret", "support-postgres")}
    assert {key for key, owner in owners.items() if not owner} == left_behind
    assert await place.record() == Rollout(active=revision, stable=revision, generation=2)
    status = resource["status"]
    assert (status["phase"], status["activeRevision"], status["replicas"]) == ("Ready", revision, 2)
    assert resource["spec"] == (await place.resource())["spec"]
    assert resource["metadata"]["finalizers"] == ["herald.dev/ordered-deletion"]


def _everything(nats: Nats) -> dict[str, Any]:
    return changed(MANAGED, {"spec.suspend": False, "spec.paused": False, "spec.rollout.autoPromote": True})


def _on_gpus(nats: Nats) -> dict[str, Any]:
    return smallest(nats, inference={"model": "Qwen/Qwen3-8B", "engine": "llmapi", "gpu": {"count": 2}})


def _scaled(nats: Nats) -> dict[str, Any]:
    return smallest(nats, agent__autoscaling={"max": 4}, gateway__autoscaling={"max": 4})


@pytest.mark.parametrize("document", [_everything, _on_gpus, _scaled], ids=["everything", "GPUs", "scaled"])
async def test_pod_security_restricted_takes_every_pod(
    document: Any, place: Place, nats: Nats, fake_cluster: Cluster
) -> None:
    fake_cluster.kubectl("apply", "-f", "-", stdin=_REFERRED_TO)
    wanted = document(nats)
    await place.secret("a-secret", **dict.fromkeys(_keys(wanted), "whsec_c2VjcmV0c2VjcmV0c2VjcmV0"))
    await place.create(wanted)
    # NATS is out of reach where it is in the cluster, so that no revision may take over: the workers start anyway.
    kinds = ("Deployment", "StatefulSet", "ReplicaSet", "Job")

    async def look() -> bool:
        workloads = [body for (kind, _), body in (await place.children()).items() if kind in kinds]
        crews = [w for w in workloads if w["kind"] == "ReplicaSet" and "herald.dev/revision" in w["metadata"]["labels"]]
        pods = [p for p in await place.api.list("Pod", place.namespace) if p["status"]["phase"] != "Succeeded"]
        needed = [w["spec"].get("replicas", 1) for w in workloads if w["kind"] in ("Deployment", "StatefulSet")]
        return bool(crews) and len(pods) >= sum(needed) + sum(c["spec"]["replicas"] for c in crews)

    await soon(look, within=90, what="all pods")
    for kind in kinds:
        for body in await place.api.list(kind, place.namespace):
            refused = [c for c in body["status"].get("conditions", ()) if c["type"] == "ReplicaFailure"]
            assert refused == [], f"{kind} {body['metadata']['name']}"
    refused = [e["note"] for e in await place.api.list("Event", place.namespace) if e["reason"] == "FailedCreate"]
    assert refused == []


_REFERRED_TO = """
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: nvidia}
handler: nvidia
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
provisioner: herald.dev/folders
"""


def _keys(document: dict[str, Any]) -> list[str]:
    """Of the one Secret that all its fields refer to."""
    return [
        key for w in secrets.wanted(AgentDeployment.model_validate(document)) if w.name == "a-secret" for key in w.keys
    ]


async def test_a_second_deployment_in_the_same_namespace_has_children_of_its_own(place: Place) -> None:
    await place.create(place.document("one"))
    await place.create(place.document("two"))
    first, second = await place.settled("one"), await place.settled("two")
    assert LOGIN not in {name for kind, name in await place.children("one") if kind == "Secret"}
    for resource in (first, second):
        name, uid = resource["metadata"]["name"], resource["metadata"]["uid"]
        for (kind, _), body in (await place.children(name)).items():
            owners = [r["uid"] for r in body["metadata"].get("ownerReferences", ())]
            if kind not in _CONTROLLERS and owners:
                assert owners == [uid]
