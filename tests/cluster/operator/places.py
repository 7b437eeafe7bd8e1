"""A namespace of a test's own, and what can be done and seen there."""

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from herald_contracts.rollout import Rollout
from herald_contracts.subjects import Names
from herald_operator.build.settings import revision as revision_of
from herald_operator.planning import accepting
from herald_runtime import rollout
from herald_runtime.connection import connect
from tests.cluster.operator.api import Api, Object
from tests.cluster.operator.documents import LOGIN, smallest
from tests.resource_documents import Document
from tests.servers import Nats
from tests.waiting import eventually

# What a deployment may consist of.
CHILDREN = (
    "ServiceAccount", "Secret", "ConfigMap", "Service", "PersistentVolumeClaim", "NetworkPolicy", "ControllerRevision",
    "StatefulSet", "Deployment", "ReplicaSet", "Job", "PodDisruptionBudget", "HorizontalPodAutoscaler", "Ingress",
    "HTTPRoute", "ScaledObject", "TriggerAuthentication", "PodMonitor", "Cluster",
)  # fmt: skip
_LABEL = "herald.dev/deployment"
SECONDS = 45.0  # less than the operator's resync: what only that would bring is missing here


class Place:
    """One namespace. Names of deployments default to that of `documents.smallest`."""

    def __init__(self, api: Api, nats: Nats, namespace: str) -> None:
        self.api = api
        self.nats = nats
        self.namespace = namespace

    def document(self, name: str = "support", **fields: Any) -> Document:
        return smallest(self.nats, name, **fields)

    async def create(self, document: Document) -> Object:
        return await self.api.create({**document, "metadata": {**document["metadata"], "namespace": self.namespace}})

    async def created(self, *, name: str = "support", **fields: Any) -> Object:
        """Create the smallest with these fields, and wait until it answers and nothing moves any more."""
        await self.create(self.document(name, **fields))
        return await self.settled(name)

    async def change(self, name: str = "support", **fields: Any) -> Object:
        """Change fields of the spec; None removes one."""
        patch: Object = {}
        for path, value in fields.items():
            *parents, last = path.split("__")
            here = patch
            for parent in parents:
                here = here.setdefault(parent, {})
            here[last] = value
        return await self.api.merge("AgentDeployment", self.namespace, name, {"spec": patch})

    async def annotate(self, name: str = "support", **notes: str | None) -> Object:
        """Commands: `promote="true"` is herald.dev/promote, and `_` stands for a dash."""
        wanted = {f"herald.dev/{key.replace('_', '-')}": value for key, value in notes.items()}
        return await self.api.merge("AgentDeployment", self.namespace, name, {"metadata": {"annotations": wanted}})

    async def secret(self, name: str, **values: str) -> None:
        data = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()}
        await self.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})

    async def config_map(self, name: str, **values: str) -> None:
        data = {key.replace("_", "-"): value for key, value in values.items()}
        await self.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})

    async def put(self, body: Object) -> Object:
        """Create it here, or replace what of it is given."""
        kind, name = body["kind"], body["metadata"]["name"]
        if await self.api.find(kind, self.namespace, name) is None:
            return await self.api.create({**body, "metadata": {**body["metadata"], "namespace": self.namespace}})
        return await self.api.merge(kind, self.namespace, name, body)

    async def login(self) -> None:
        """The Secret that lets deployments here reach NATS."""
        user, password = self.nats.url.removeprefix("nats://").partition("@")[0].split(":")
        await self.secret(LOGIN, user=user, password=password)

    async def get(self, kind: str, name: str) -> Object:
        return await self.api.get(kind, self.namespace, name)

    async def find(self, kind: str, name: str) -> Object | None:
        return await self.api.find(kind, self.namespace, name)

    async def resource(self, name: str = "support") -> Object:
        return await self.get("AgentDeployment", name)

    async def status(self, name: str = "support") -> Object:
        status: Object = (await self.resource(name)).get("status") or {}
        return status

    async def conditions(self, name: str = "support") -> Mapping[str, Object]:
        return conditions_of(await self.resource(name))

    async def children(self, name: str = "support") -> dict[tuple[str, str], Object]:
        """Everything with the deployment's label, but for pods."""
        found = {}
        for kind in CHILDREN:
            for item in await self.api.list(kind, self.namespace, {_LABEL: name}):
                found[(kind, str(item["metadata"]["name"]))] = item
        return found

    async def pods(self, component: str, name: str = "support", **labels: str) -> list[Object]:
        wanted = {_LABEL: name, "app.kubernetes.io/component": component, **labels}
        return await self.api.list("Pod", self.namespace, wanted)

    async def crews(self, name: str = "support") -> dict[str, Object]:
        """The ReplicaSets of workers, by revision."""
        found = await self.api.list(
            "ReplicaSet", self.namespace, {_LABEL: name, "app.kubernetes.io/component": "agent"}
        )
        return {str(crew["metadata"]["labels"]["herald.dev/revision"]): crew for crew in found}

    async def record(self, name: str = "support") -> Rollout | None:
        """Who answers, as workers read it."""
        client = await connect(self.nats.settings, "test")
        try:
            return (await rollout.read(client, Names(self.namespace, name)))[0]
        finally:
            await client.close()

    async def until(
        self, look: Callable[[Object], object], name: str = "support", *, what: str = "", within: float = SECONDS
    ) -> Object:
        """The resource, once `look` at it is true."""
        seen: Object = {}

        async def once() -> Object | None:
            nonlocal seen
            seen = await self.resource(name)
            return seen if look(seen) else None

        try:
            return await eventually(once, within=within)
        except AssertionError:
            raise AssertionError(f"not within {within:g} s: {what or look}; {_said(seen)}") from None

    async def says(self, kind: str, status: str, reason: str = "", name: str = "support") -> Object:
        """One condition, once it says so about the spec as it is now."""

        def look(body: Object) -> bool:
            found = conditions_of(body).get(kind, {})
            current = found.get("observedGeneration") == body["metadata"]["generation"]
            return current and found.get("status") == status and (not reason or found.get("reason") == reason)

        body = await self.until(look, name, what=f"{kind} {status} {reason}")
        return conditions_of(body)[kind]

    async def settled(self, name: str = "support") -> Object:
        """The resource, once the spec's own revision answers, is proved, and nobody else has workers."""
        await self.until(_proved, name, what="settled")
        await soon(lambda: self.is_settled(name), what="one crew of workers")
        return await self.resource(name)

    async def is_settled(self, name: str = "support") -> bool:
        return _proved(await self.resource(name)) and len(await self.crews(name)) == 1

    async def wanted(self, name: str = "support") -> str:
        """The revision that the spec asks for."""
        parsed = accepting.parse(await self.resource(name))
        assert not isinstance(parsed, accepting.Refusal)
        return revision_of(parsed)

    async def gone(self, name: str = "support", *, within: float = SECONDS) -> None:
        async def look() -> bool:
            return await self.find("AgentDeployment", name) is None

        await eventually(look, within=within, what=f"{name} is gone")

    async def delete(self, name: str = "support") -> None:
        """Ask for it, and wait until it is gone."""
        await self.api.delete("AgentDeployment", self.namespace, name)
        await self.gone(name)


async def soon(look: Callable[[], Awaitable[object]], *, what: str, within: float = SECONDS) -> None:
    """Wait until `look` is true. Raises AssertionError."""
    await eventually(look, within=within, what=what)


def conditions_of(body: Object) -> dict[str, Object]:
    return {str(c["type"]): c for c in (body.get("status") or {}).get("conditions") or ()}


def _proved(body: Object) -> bool:
    status, said = body.get("status") or {}, conditions_of(body)
    return (
        status.get("observedGeneration") == body["metadata"]["generation"]
        and all(said.get(kind, {}).get("status") == "True" for kind in ("Ready", "Promoted"))
        and status.get("stableRevision") == status.get("activeRevision")
        and not status.get("candidateRevision")
    )


def _said(body: Object) -> str:
    status = body.get("status") or {}
    lines = [f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in status.get("conditions") or ()]
    plain = {k: status.get(k) for k in ("observedGeneration", "activeRevision", "candidateRevision", "stableRevision")}
    return "\n  ".join([f"last seen: phase {status.get('phase')!r}, {plain}", *lines])
