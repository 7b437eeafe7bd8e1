"""One AgentDeployment as the API server has it, read leniently: the operator may be newer than this command."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from herald_contracts.errors import PermanentError
from herald_contracts.resources.v1alpha1 import API_VERSION, PLURAL
from herald_operator.build.naming import Owner

if TYPE_CHECKING:
    from herald_cli.kubectl.api import Api
    from herald_cli.kubectl.target import Target


class NoSuchDeployment(PermanentError):
    """There is none, or more than one could be meant."""


class NotInstalled(PermanentError):
    """The cluster does not know the kind."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """`body` is the resource."""

    body: Mapping[str, Any]

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.body["metadata"]  # type: ignore[no-any-return]

    @property
    def owner(self) -> Owner:
        """Knows the names of its children."""
        return Owner(self.metadata["namespace"], self.metadata["name"], self.metadata["uid"])

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        return str(self.metadata["namespace"])

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.body.get("spec") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        return self.body.get("status") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.metadata.get("annotations") or {}

    @property
    def phase(self) -> str:
        return str(self.status.get("phase") or "Unseen")

    @property
    def active(self) -> str:
        return str(self.status.get("activeRevision") or "")

    @property
    def candidate(self) -> str:
        return str(self.status.get("candidateRevision") or "")

    @property
    def seen(self) -> bool:
        """Whether the status speaks of the spec as it is."""
        return bool(self.status.get("observedGeneration") == self.metadata.get("generation"))

    @property
    def ready(self) -> bool:
        return self.seen and (self.condition("Ready") or {}).get("status") == "True"

    @property
    def paused(self) -> bool:
        return bool(self.spec.get("paused"))

    def condition(self, kind: str) -> Mapping[str, Any] | None:
        return next((c for c in self.listed("conditions") if c.get("type") == kind), None)

    def listed(self, field: str) -> list[Mapping[str, Any]]:
        """A list of the status."""
        found = self.status.get(field)
        return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []

    @property
    def path(self) -> str:
        return f"{collection(self.namespace)}/{self.name}"


def collection(namespace: str | None) -> str:
    """Path of all of a namespace, or of the cluster."""
    inside = f"/namespaces/{namespace}" if namespace is not None else ""
    return f"/apis/{API_VERSION}{inside}/{PLURAL}"


def pick(found: Sequence[Deployment], name: str | None, namespace: str, elsewhere: Sequence[Deployment]) -> Deployment:
    """The one that is meant, among those of the namespace. Pure. Raises NoSuchDeployment, which says what there is."""
    if name is not None:
        for deployment in found:
            if deployment.name == name:
                return deployment
        known = f"there is: {_names(found)}" if found else _elsewhere(elsewhere)
        raise NoSuchDeployment(f"there is no AgentDeployment {name!r} in namespace {namespace!r}\n  {known}")
    if len(found) > 1:
        raise NoSuchDeployment(
            f"namespace {namespace!r} has {len(found)} AgentDeployments: name one of them\n  there is: {_names(found)}"
        )
    if not found:
        raise NoSuchDeployment(f"there is no AgentDeployment in namespace {namespace!r}\n  {_elsewhere(elsewhere)}")
    return found[0]


def _names(found: Sequence[Deployment]) -> str:
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    return ", ".join(sorted(d.name for d in found)[:10]) + more


def _elsewhere(found: Sequence[Deployment]) -> str:
    if not found:
        return "make one with `kubectl apply -f agent.yaml`"
    places = sorted({(d.namespace, d.name) for d in found})[:10]
    shown = ", ".join(f"{name} (-n {namespace})" for namespace, name in places)
    return f"in other namespaces there is: {shown}"


async def everything(api: "Api", namespace: str | None) -> list[Deployment]:
    """All of a namespace, or of the cluster. Raises NotInstalled where the cluster does not know the kind."""
    found = await api.get(collection(namespace))
    if found is None:
        raise NotInstalled(
            f"the cluster at {api.server} has no AgentDeployments: Herald is not installed there\n"
            f"  `helm install herald-crds charts/herald-crds`, then charts/herald; or name another --context"
        )
    return [Deployment({"apiVersion": API_VERSION, "kind": "AgentDeployment", **body}) for body in found["items"]]


async def choose(api: "Api", target: "Target") -> Deployment:
    """The deployment that the target names, or the only one there is. Raises NoSuchDeployment, NotInstalled."""
    found = await everything(api, api.namespace)
    elsewhere: list[Deployment] = []
    if not found:
        elsewhere = await beyond(api)
    return pick(found, target.name, api.namespace, elsewhere)


async def beyond(api: "Api") -> list[Deployment]:
    """Those of all namespaces; none where the user may not look."""
    from herald_cli.kubectl.api import Forbidden

    try:
        return await everything(api, None)
    except Forbidden:
        return []


async def again(api: "Api", deployment: Deployment) -> Deployment:
    """As it is now. Raises NoSuchDeployment once it is gone."""
    body = await api.get(deployment.path)
    if body is None or body["metadata"]["uid"] != deployment.metadata["uid"]:
        raise NoSuchDeployment(f"AgentDeployment {deployment.name!r} is gone")
    return Deployment(body)
