"""The only module that talks to the API server: reads, applies, removes. Values in, values out.

Server-side apply with one field manager, forced on what we own, so that a write says what we want and nothing about
the fields of others. Every removal names the uid it means: a look that is old must not remove what is new. Before
every write a guard is asked, so that a process that lost its lease, or slept through it, writes nothing.
"""

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException

from herald_contracts.errors import PermanentError, TemporaryError
from herald_contracts.resources.v1alpha1 import API_VERSION, GROUP, KIND, PLURAL, VERSION
from herald_operator import instruments
from herald_operator.build.naming import FIELD_MANAGER, STATUS_MANAGER, Object

_SECONDS = 30.0  # for one request
_PAGE = 500
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_GONE = frozenset({404, 410})
_LATER = frozenset({408, 409, 429, 500, 502, 503, 504})
# Said with a 500 to an apply of what a CRD does not have (Kubernetes 1.34): no other try will do.
_UNKNOWN_FIELD = "field not declared in schema"


@dataclass(frozen=True, slots=True)
class Kind:
    """`watched`: with our label, by the operator. `optional`: a cluster may not serve it."""

    api_version: str
    plural: str
    watched: bool = True
    optional: bool = False


KINDS: Mapping[str, Kind] = {
    "Deployment": Kind("apps/v1", "deployments"),
    "StatefulSet": Kind("apps/v1", "statefulsets"),
    "ReplicaSet": Kind("apps/v1", "replicasets"),
    "ControllerRevision": Kind("apps/v1", "controllerrevisions"),
    "Job": Kind("batch/v1", "jobs"),
    "Service": Kind("v1", "services"),
    "ConfigMap": Kind("v1", "configmaps"),
    "ServiceAccount": Kind("v1", "serviceaccounts"),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims"),
    "Pod": Kind("v1", "pods"),
    # Never listed and never watched: a list shows all values of a namespace.
    "Secret": Kind("v1", "secrets", watched=False),
    "PodDisruptionBudget": Kind("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": Kind("networking.k8s.io/v1", "networkpolicies"),
    "Ingress": Kind("networking.k8s.io/v1", "ingresses"),
    "HorizontalPodAutoscaler": Kind("autoscaling/v2", "horizontalpodautoscalers"),
    "HTTPRoute": Kind("gateway.networking.k8s.io/v1", "httproutes", optional=True),
    "ScaledObject": Kind("keda.sh/v1alpha1", "scaledobjects", optional=True),
    "TriggerAuthentication": Kind("keda.sh/v1alpha1", "triggerauthentications", optional=True),
    "PodMonitor": Kind("monitoring.coreos.com/v1", "podmonitors", optional=True),
    "Cluster": Kind("postgresql.cnpg.io/v1", "clusters", optional=True),
    KIND: Kind(API_VERSION, PLURAL),
}


class Unavailable(TemporaryError):
    """The API server does not answer, is busy, or somebody else was faster: try again."""


class Refused(PermanentError):
    """The API server will not have it: a right is missing, or the object is not valid. The text is the server's."""


class NameTaken(PermanentError):
    """An object of somebody else has the name that ours needs."""


class Cluster:
    """`guard` raises where this process may not write any more."""

    def __init__(self, client: ApiClient, guard: Callable[[], None]) -> None:
        self._client = client
        self._guard = guard

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as it is now, None when there is none. Raises Unavailable, Refused."""
        return await self._ask("GET", path_of(kind, namespace, name))

    async def listed(
        self, kind: str, namespace: str | None, labels: Mapping[str, str], *, whole: bool = True
    ) -> tuple[tuple[Object, ...], int] | None:
        """All of one kind with these labels, and at which version; of all namespaces where it is None.

        `whole` false: their metadata alone. None: there is no such kind, or the list took too long to read on.
        Raises Unavailable, Refused.
        """
        query = {
            "limit": str(_PAGE),
            **({"labelSelector": ",".join(f"{k}={v}" for k, v in labels.items())} if labels else {}),
        }
        found: list[Object] = []
        version = 0
        while True:
            page = await self._ask("GET", path_of(kind, namespace), query, "application/json" if whole else _METADATA)
            if page is None:
                return None
            version = version or int(page["metadata"]["resourceVersion"])
            # The items of a list do not say what they are.
            found += [{**item, "apiVersion": KINDS[kind].api_version, "kind": kind} for item in page["items"] or ()]
            if not page["metadata"].get("continue"):
                return tuple(found), version
            query["continue"] = page["metadata"]["continue"]

    async def apply(self, wanted: Object, *, new: bool) -> Object:
        """Make the object what we want it to be; the result is how it is then. Raises Unavailable, Refused, NameTaken.

        `new`: we know of none. Then one is looked for first, because an apply would take over somebody else's.
        """
        kind, metadata = wanted["kind"], wanted["metadata"]
        path = path_of(kind, metadata["namespace"], metadata["name"])
        if new:
            self._refuse_foreign(wanted, await self._ask("GET", path))
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return _there(await self._write("PATCH", path, wanted, query, "application/apply-patch+yaml"))

    async def scale(self, live: Object, replicas: int) -> Object:
        """Set how many pods there should be, whatever an apply says of the rest; the result is how it is then."""
        metadata = live["metadata"]
        path = f"{path_of(live['kind'], metadata['namespace'], metadata['name'])}/scale"
        query = {"fieldManager": f"{FIELD_MANAGER}-scale"}
        body = {"spec": {"replicas": replicas}}
        answer = _there(await self._write("PATCH", path, body, query, "application/merge-patch+json"))
        version = answer["metadata"]["resourceVersion"]
        generation = int(metadata.get("generation") or 0) + 1
        return {
            **live,
            "metadata": {**metadata, "resourceVersion": version, "generation": generation},
            "spec": {**live["spec"], "replicas": replicas},
        }

    async def patch(self, live: Object, change: Object) -> Object:
        """Merge a change into exactly this object; the result is how it is then. Raises Refused, Unavailable also for
        one that is gone.
        """
        metadata = live["metadata"]
        path = path_of(live["kind"], metadata["namespace"], metadata["name"])
        body = {**change, "metadata": {**change.get("metadata", {}), "uid": metadata["uid"]}}
        query = {"fieldManager": f"{FIELD_MANAGER}-deletion"}
        return _there(await self._write("PATCH", path, body, query, "application/merge-patch+json", gone=True))

    async def delete(self, live: Object) -> None:
        """Remove exactly this object, and what it owns after it; one that is gone or another by now is no error."""
        metadata = live["metadata"]
        options = {"preconditions": {"uid": metadata["uid"]}, "propagationPolicy": "Background"}
        try:
            await self._write("DELETE", path_of(live["kind"], metadata["namespace"], metadata["name"]), options, {})
        except _Answer as e:
            if e.status not in (*_GONE, 409):
                raise e.error() from None

    async def patch_status(self, resource: Object, status: Object) -> Object:
        """Write all of our status of an AgentDeployment; the result is how it is then."""
        metadata = resource["metadata"]
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "status": status,
        }
        path = f"{path_of(KIND, metadata['namespace'], metadata['name'])}/status"
        query = {"fieldManager": STATUS_MANAGER, "force": "true"}
        return _there(await self._write("PATCH", path, body, query, "application/apply-patch+yaml"))

    async def patch_metadata(
        self, resource: Object, *, finalizers: list[str] | None = None, drop: tuple[str, ...] = ()
    ) -> Object | None:
        """Set the finalizers, or drop annotations, of the resource as we have seen it. None when it is gone.

        Raises Unavailable when it has changed since.
        """
        metadata = resource["metadata"]
        change: Object = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        if finalizers is not None:
            change["finalizers"] = finalizers
        if drop:
            change["annotations"] = dict.fromkeys(drop)
        path = path_of(KIND, metadata["namespace"], metadata["name"])
        query = {"fieldManager": f"{FIELD_MANAGER}-metadata"}
        return await self._write("PATCH", path, {"metadata": change}, query, "application/merge-patch+json", gone=True)

    async def event(self, resource: Object, kind: str, reason: str, message: str) -> None:
        """Tell people who run `kubectl describe`. `kind` is Normal or Warning."""
        metadata = resource["metadata"]
        now = datetime.now(UTC)
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}-", "namespace": metadata["namespace"]},
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"{GROUP}/operator",
            "reportingInstance": "herald-operator",
            "action": "Reconcile",
            "reason": reason,
            "type": kind,
            "note": message[:1_000],
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
        }
        path = f"/apis/events.k8s.io/v1/namespaces/{metadata['namespace']}/events"
        await self._write("POST", path, body, {}, "application/json")

    async def served(self) -> frozenset[str]:
        """Which of the optional kinds this cluster serves."""
        groups: dict[str, set[str]] = {}
        for version in {kind.api_version for kind in KINDS.values() if kind.optional}:
            listed = await self._ask("GET", f"/apis/{version}")
            groups[version] = {r["kind"] for r in (listed or {}).get("resources") or () if "/" not in r["name"]}
        return frozenset(name for name, kind in KINDS.items() if kind.optional and name in groups[kind.api_version])

    def _refuse_foreign(self, wanted: Object, live: Object | None) -> None:
        if live is None:
            return
        ours = {r.get("uid") for r in wanted["metadata"].get("ownerReferences") or ()}
        controllers = {r.get("uid") for r in live["metadata"].get("ownerReferences") or () if r.get("controller")}
        labels, same = live["metadata"].get("labels") or {}, wanted["metadata"]["labels"]
        label = "herald.dev/deployment"
        # Left behind on purpose by an earlier deployment of this name, or our own that we have not seen yet.
        if labels.get(label) == same[label] and (not controllers or controllers <= ours):
            return
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        raise NameTaken(
            f"there is already a {kind} {name!r} that is not ours; remove it, or name the deployment otherwise"
        )

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Object | None:
        try:
            return await self._request(method, path, None, query or {}, "", accept)
        except _Answer as e:
            if e.status in _GONE:
                return None
            raise e.error() from None

    async def _write(
        self,
        method: str,
        path: str,
        body: Object,
        query: Mapping[str, str],
        content_type: str = "application/json",
        *,
        gone: bool = False,
    ) -> Object | None:
        self._guard()
        try:
            answer = await self._request(method, path, body, query, content_type)
            instruments.writes.add(1, {"verb": method})
            return answer
        except _Answer as e:
            if method == "DELETE":
                raise
            if gone and e.status in _GONE:
                return None
            raise e.error() from None

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | None,
        query: Mapping[str, str],
        content_type: str,
        accept: str = "application/json",
    ) -> Object | None:
        headers = {"Accept": accept, **({"Content-Type": content_type} if content_type else {})}
        try:
            made = await self._client.param_serialize(
                method,
                path,
                query_params=list(query.items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._client.call_api(*made, _request_timeout=_SECONDS)
            data: bytes = await answer.read()  # type: ignore[no-untyped-call]
        except ApiException as e:
            raise _Answer(e.status or 0, str(e.body or e.reason)) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            raise Unavailable(f"the API server does not answer ({type(e).__name__})") from None
        if answer.status >= 300:
            raise _Answer(answer.status, data.decode(errors="replace"))
        found: Object = json.loads(data) if data else {}
        return found


class _Answer(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(status)
        self.status = status
        self._body = body

    def error(self) -> TemporaryError | PermanentError:
        message = self._body
        with contextlib.suppress(ValueError, AttributeError):
            message = json.loads(self._body).get("message") or self._body
        message = re.sub(r"\s+", " ", message)[:1_000]
        if _UNKNOWN_FIELD in message:
            return Refused(f"{message} (this cluster's type is older than what Herald needs: update what brought it)")
        if self.status in _LATER or self.status == 0:
            return Unavailable(f"{self.status}: {message}")
        return Refused(f"{self.status}: {message}")


def path_of(kind: str, namespace: str | None, name: str | None = None) -> str:
    """Where the API server has an object of one of `KINDS`; without a name all of a namespace, without that all."""
    known = KINDS[kind]
    root = "/api/v1" if known.api_version == "v1" else f"/apis/{known.api_version}"
    within = f"/namespaces/{namespace}" if namespace is not None else ""
    return f"{root}{within}/{known.plural}" + (f"/{name}" if name is not None else "")


def _there(answer: Object | None) -> Object:
    if answer is None:
        raise Unavailable("the API server gave no object back")
    return answer


__all__ = ["GROUP", "KINDS", "VERSION", "Cluster", "Kind", "NameTaken", "Refused", "Unavailable", "path_of"]
