"""An administrator's view of the cluster, for tests: any kind, by name, and what it says when it does not want to."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from tools.cluster import Cluster

Object = dict[str, Any]

# Kind -> API version and plural. Those without a namespace are in _CLUSTER_WIDE.
_KINDS = {
    "AgentDeployment": ("herald.dev/v1alpha1", "agentdeployments"),
    "Application": ("argoproj.io/v1alpha1", "applications"),
    "Cluster": ("postgresql.cnpg.io/v1", "clusters"),
    "ConfigMap": ("v1", "configmaps"),
    "ControllerRevision": ("apps/v1", "controllerrevisions"),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "Deployment": ("apps/v1", "deployments"),
    "Event": ("events.k8s.io/v1", "events"),
    "HTTPRoute": ("gateway.networking.k8s.io/v1", "httproutes"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "Ingress": ("networking.k8s.io/v1", "ingresses"),
    "Job": ("batch/v1", "jobs"),
    "Lease": ("coordination.k8s.io/v1", "leases"),
    "Namespace": ("v1", "namespaces"),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "Pod": ("v1", "pods"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "PodMonitor": ("monitoring.coreos.com/v1", "podmonitors"),
    "ReplicaSet": ("apps/v1", "replicasets"),
    "ResourceQuota": ("v1", "resourcequotas"),
    "ScaledObject": ("keda.sh/v1alpha1", "scaledobjects"),
    "Secret": ("v1", "secrets"),
    "Service": ("v1", "services"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "SubjectAccessReview": ("authorization.k8s.io/v1", "subjectaccessreviews"),
    "TriggerAuthentication": ("keda.sh/v1alpha1", "triggerauthentications"),
}
_CLUSTER_WIDE = frozenset({"CustomResourceDefinition", "Namespace", "SubjectAccessReview"})
_ME = "a-person"  # field manager of what tests write


class Refused(Exception):
    """An answer that is no success: `status`, and the server's own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """Every call raises Refused, but `find`, which gives None for what is not there."""

    def __init__(self, http: aiohttp.ClientSession, server: str) -> None:
        self._http = http
        self._server = server

    async def find(self, kind: str, namespace: str, name: str) -> Object | None:
        try:
            return await self._ask("GET", path(kind, namespace, name))
        except Refused as e:
            if e.status == 404:
                return None
            raise

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        return await self._ask("GET", path(kind, namespace, name))

    async def listed(
        self, kind: str, namespace: str, labels: Mapping[str, str] | None = None
    ) -> tuple[list[Object], str]:
        """In the order of their names; and the version that `watch` goes on from."""
        query = {"labelSelector": ",".join(f"{k}={v}" for k, v in labels.items())} if labels else {}
        listed = await self._ask("GET", path(kind, namespace), query=query)
        items: list[Object] = [{"apiVersion": _KINDS[kind][0], "kind": kind, **item} for item in listed["items"]]
        return sorted(items, key=lambda item: str(item["metadata"]["name"])), listed["metadata"]["resourceVersion"]

    async def list(self, kind: str, namespace: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """The same without the version; empty also where the cluster does not serve the kind."""
        try:
            return (await self.listed(kind, namespace, labels))[0]
        except Refused as e:
            if e.status == 404:
                return []
            raise

    async def create(self, body: Object) -> Object:
        metadata = body["metadata"]
        query = {"fieldManager": _ME, "fieldValidation": "Strict"}
        return await self._ask("POST", path(body["kind"], metadata.get("namespace", "")), body, query=query)

    async def merge(self, kind: str, namespace: str, name: str, change: Object, subresource: str = "") -> Object:
        """A merge patch, as `kubectl patch --type=merge`."""
        place = path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._ask("PATCH", place, change, "application/merge-patch+json", {"fieldManager": _ME})

    async def strategic(self, kind: str, namespace: str, name: str, change: Object) -> Object:
        """As `kubectl patch`: lists are merged by their keys. Only for kinds of Kubernetes' own."""
        place = path(kind, namespace, name)
        return await self._ask("PATCH", place, change, "application/strategic-merge-patch+json", {"fieldManager": _ME})

    async def delete(self, kind: str, namespace: str, name: str, *, propagation: str = "Background") -> None:
        try:
            await self._ask("DELETE", path(kind, namespace, name), {"propagationPolicy": propagation})
        except Refused as e:
            if e.status != 404:
                raise

    async def scale(self, kind: str, namespace: str, name: str, replicas: int) -> None:
        """As an autoscaler does it."""
        await self.merge(kind, namespace, name, {"spec": {"replicas": replicas}}, "scale")

    async def text(self, place: str) -> str:
        """A page such as /metrics."""
        async with self._http.get(f"{self._server}{place}") as answer:
            return await answer.text()

    async def watch(self, kind: str, namespace: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        """Every change after `version`: (ADDED, MODIFIED or DELETED, the object). Ends only with its reader."""
        query = {"watch": "true", "resourceVersion": version}
        place = f"{self._server}{path(kind, namespace)}"
        async with self._http.get(place, params=query, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            async for line in answer.content:
                event = json.loads(line)
                yield event["type"], event["object"]

    async def _ask(
        self,
        method: str,
        place: str,
        body: Object | None = None,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        data = json.dumps(body) if body is not None else None
        headers = {"Content-Type": content_type} if data is not None else {}
        async with self._http.request(
            method, f"{self._server}{place}", data=data, headers=headers, params=query
        ) as answer:
            text = await answer.text()
            if answer.status == 429:
                # A CRD that has just come: its storage is being made.
                await asyncio.sleep(0.2)
                return await self._ask(method, place, body, content_type, query)
            if answer.status >= 300:
                try:
                    message = json.loads(text)["message"]
                except (ValueError, KeyError):
                    message = text
                raise Refused(answer.status, message)
            found: Object = json.loads(text)
            return found


def path(kind: str, namespace: str, name: str = "") -> str:
    """Of an object, or without a name of all of its kind. An empty namespace means all of them."""
    version, plural = _KINDS[kind]
    root = "/api/v1" if version == "v1" else f"/apis/{version}"
    inside = f"/namespaces/{namespace}" if namespace and kind not in _CLUSTER_WIDE else ""
    return f"{root}{inside}/{plural}" + (f"/{name}" if name else "")


@asynccontextmanager
async def administrator(cluster: Cluster) -> AsyncIterator[Api]:
    """Someone who may do everything."""
    context = ssl.create_default_context(cafile=str(cluster.ca))
    keys = cluster.folder.pki
    context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as http:
        yield Api(http, cluster.server)
    # aiohttp closes TLS connections only with the loop's next turns.
    await asyncio.sleep(0)
