"""The operator's anchor: its objects, written elsewhere by a client that thinks nothing, until their pods are Ready."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubernetes import client, config
from tools.cluster import Cluster

from benchmarks.processes import Failed
from herald_contracts.resources.v1alpha1 import KIND
from herald_operator.build.naming import FIELD_MANAGER, SELECTOR
from herald_operator.cluster import KINDS, path_of

NAMESPACE = "bare"
_MOST = 600.0  # seconds
# What the API server or a controller wrote into an object, and would not take, or do, a second time.
_GENERATED: dict[str, Sequence[str]] = {
    "Service": ("clusterIP", "clusterIPs"),
    "Job": ("selector",),
    "PersistentVolumeClaim": ("volumeName",),
}
_TRACES = ("controller-uid", "job-name", "pv.kubernetes.io", "volume.kubernetes.io", "deployment.kubernetes.io")
Object = dict[str, Any]


def children(cluster: Cluster, namespace: str) -> list[Object]:
    """What the operator made there, ready to be applied in `NAMESPACE`: no pods, nothing that controllers made."""
    kinds = [_resource(kind.api_version, kind.plural) for kind in KINDS.values() if kind.watched and not kind.optional]
    label = ",".join(f"{key}={value}" for key, value in SELECTOR.items())
    listed = json.loads(cluster.kubectl("get", ",".join(kinds), "-n", namespace, "-l", label, "-o", "json"))["items"]
    return [_elsewhere(body) for body in listed if _is_child(body)]


def seconds(cluster: Cluster, wanted: list[Object], *, events: int, writers: int) -> float:
    """How long it takes to apply them, write so many Events, and see the pods Ready. Raises Failed."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    made: client.ApiClient = config.new_client_from_config(str(cluster.kubeconfig))  # type: ignore[no-untyped-call]
    with made, ThreadPoolExecutor(writers) as pool:
        begun = time.monotonic()
        list(pool.map(_applying(made), wanted))
        list(pool.map(_telling(made), range(events)))
        while waiting := _not_ready(cluster):
            if time.monotonic() - begun > _MOST:
                raise Failed(f"{waiting} workloads of the bare client are not ready within {_MOST:g} s")
            time.sleep(0.5)
        return time.monotonic() - begun


def _resource(api_version: str, plural: str) -> str:
    group, _, version = api_version.rpartition("/")
    return f"{plural}.{version}.{group}" if group else plural


def _is_child(body: Object) -> bool:
    owners = [reference["kind"] for reference in body["metadata"].get("ownerReferences") or ()]
    return body["kind"] not in ("Pod", KIND) and owners in ([], [KIND])


def _elsewhere(body: Object) -> Object:
    metadata = {"name": body["metadata"]["name"], "namespace": NAMESPACE}
    for key in ("labels", "annotations"):
        metadata[key] = _plain(body["metadata"].get(key))
    made = {key: value for key, value in body.items() if key not in ("metadata", "status")}
    if "spec" in made:
        made["spec"] = {k: v for k, v in made["spec"].items() if k not in _GENERATED.get(body["kind"], ())}
    if body["kind"] == "Job":
        template = made["spec"]["template"]
        template["metadata"]["labels"] = _plain(template["metadata"].get("labels"))
    return {**made, "metadata": metadata}


def _plain(pairs: dict[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (pairs or {}).items() if not any(trace in key for trace in _TRACES)}


def _applying(made: client.ApiClient) -> Callable[[Object], None]:
    def apply(body: Object) -> None:
        path = path_of(body["kind"], NAMESPACE, body["metadata"]["name"])
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        _call(made, "PATCH", path, query, body, "application/apply-patch+yaml")

    return apply


def _telling(made: client.ApiClient) -> Callable[[int], None]:
    def tell(number: int) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"bare-{number}", "namespace": NAMESPACE},
            "involvedObject": {"kind": "Namespace", "name": NAMESPACE, "namespace": NAMESPACE},
            "reason": "Measured",
            "message": "one write as good as another",
            "type": "Normal",
        }
        _call(made, "POST", f"/api/v1/namespaces/{NAMESPACE}/events", [], body, "application/json")

    return tell


def _call(made: client.ApiClient, method: str, path: str, query: Any, body: Object, content: str) -> None:
    headers = {"Content-Type": content, "Accept": "application/json"}
    prepared = made.param_serialize(
        method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
    )
    answer = made.call_api(*prepared)
    said = answer.read()  # type: ignore[no-untyped-call]
    if answer.status >= 300:
        raise Failed(f"{method} {path}: {answer.status} {said[:300]!r}")


def _not_ready(cluster: Cluster) -> int:
    listed = json.loads(
        cluster.kubectl("get", "deployments,statefulsets,replicasets,jobs", "-n", NAMESPACE, "-o", "json")
    )
    return sum(not _is_ready(body) for body in listed["items"])


def _is_ready(body: Object) -> bool:
    status = body.get("status") or {}
    if body["kind"] == "Job":
        return bool(status.get("succeeded"))
    return int(status.get("readyReplicas") or 0) >= int(body["spec"].get("replicas") or 0)
