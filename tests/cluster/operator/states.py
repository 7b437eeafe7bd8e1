"""What a deployment has become, without what differs from one time to the next: uids, times, passwords, digests."""

import re
from typing import Any

from tests.cluster.operator.api import Object
from tests.cluster.operator.places import Place

_VOLATILE = frozenset(
    {
        "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink", "clusterIP",
        "clusterIPs", "volumeName", "lastTransitionTime", "promotedAt", "herald.dev/applied", "herald.dev/settings",
        "herald.dev/started", "herald.dev/promoted", "batch.kubernetes.io/controller-uid", "controller-uid",
        "batch.kubernetes.io/job-tracking", "deployment.kubernetes.io/revision", "generateName",
        "pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller", "finalizers",
        "volume.kubernetes.io/storage-provisioner",
        "volume.beta.kubernetes.io/storage-provisioner",
    }
)  # fmt: skip

_DIGEST = re.compile(r"\b(migrate|inference)-[0-9a-f]{8}\b")


async def state(place: Place, name: str) -> dict[str, Any]:
    """Of everything that is the deployment's, by kind and name, with `NAME` where its name stands."""
    uid = (await place.resource(name))["metadata"]["uid"]
    found: dict[str, Any] = {}
    for (kind, child), body in (await place.children(name)).items():
        owners = {r["uid"] for r in body["metadata"].get("ownerReferences", ())}
        if owners <= {uid}:
            found[f"{kind}/{child}"] = _stripped(body)
    for volume in await place.api.list("PersistentVolumeClaim", place.namespace):
        if volume["metadata"]["name"].endswith(f"{name}-postgres-0"):
            found[f"PersistentVolumeClaim/{volume['metadata']['name']}"] = _stripped(volume)
    pods = await place.api.list("Pod", place.namespace, {"herald.dev/deployment": name})
    alive = [p for p in pods if p["status"]["phase"] != "Succeeded" and not p["metadata"].get("deletionTimestamp")]
    components = [p["metadata"]["labels"]["app.kubernetes.io/component"] for p in alive]
    found["pods"] = {component: components.count(component) for component in sorted(set(components))}
    record = await place.record(name)
    found["record"] = (record.active, record.candidate, record.stable) if record is not None else None
    found["status"] = _stripped((await place.resource(name))["status"])
    renamed: dict[str, Any] = _renamed(found, name)
    return renamed


def _stripped(body: Object) -> Object:
    made: Object = _without(body)
    if made.get("kind") == "Secret":
        made["data"] = sorted(made["data"])
    if made.get("kind") not in (None, "Secret", "ConfigMap", "ControllerRevision"):
        made.pop("status", None)
    return made


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if not _differs_each_time(key)}
    return [_without(item) for item in value] if isinstance(value, list) else value


def _differs_each_time(key: str) -> bool:
    # The digest of a Secret is made under a key of each deployment's own.
    return key in _VOLATILE or key.startswith("herald.dev/secret-")


def _renamed(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {_renamed(key, name): _renamed(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item, name) for item in value]
    if not isinstance(value, str):
        return value
    # Some children are called after a digest that has the deployment's name in it.
    return _DIGEST.sub(r"\1-DIGEST", re.sub(rf"\b{re.escape(name)}\b", "NAME", value))
