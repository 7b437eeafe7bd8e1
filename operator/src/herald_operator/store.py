"""What the watches have told, and what our own writes answered: the newer of the two, as small bytes.

A watch tells late of what we wrote ourselves. Without the answers kept here, the next look would write it again, or
make a second candidate of what is already one.
"""

from collections.abc import Callable, Iterable, Mapping

from herald_contracts.resources.v1alpha1 import KIND
from herald_operator.build.naming import DEPLOYMENT, Object, Owner
from herald_operator.packing import pack, unpack
from herald_operator.planning.observed import Key
from herald_operator.queueing import Key as Deployment

Children = Callable[[Deployment], Iterable[bytes]]


class Store:
    """`children` gives what the watches know of one deployment's children (kopf's index)."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._resources: dict[Deployment, bytes] = {}
        self._written: dict[Deployment, dict[Key, bytes]] = {}

    def see(self, resource: Mapping[str, object]) -> None:
        """An event about an AgentDeployment, or the answer to our own write of one; the newer is kept."""
        body = pack(resource)
        key = _of(resource)
        known = self._resources.get(key)
        if known is None or _newer(unpack(body), unpack(known)):
            self._resources[key] = body

    def deployments(self) -> tuple[Deployment, ...]:
        """All deployments there are."""
        return tuple(self._resources)

    def gone(self, key: Deployment, uid: str) -> None:
        """This one is; another of that name may be known already: news of two objects come in any order."""
        known = self._resources.get(key)
        if known is None or unpack(known)["metadata"]["uid"] == uid:
            self._resources.pop(key, None)
            self._written.pop(key, None)

    def resource(self, key: Deployment) -> Object | None:
        body = self._resources.get(key)
        return unpack(body) if body is not None else None

    def wrote(self, key: Deployment, answer: Object) -> None:
        """The answer to our own write of a child."""
        self._written.setdefault(key, {})[(answer["kind"], answer["metadata"]["name"])] = pack(answer)

    def removed(self, key: Deployment, kind: str, name: str, uid: str) -> None:
        """A watch says that a child is gone: what we once wrote is no longer true, if it was about this one."""
        written = self._written.get(key, {})
        if (kind, name) in written and unpack(written[(kind, name)])["metadata"]["uid"] == uid:
            del written[(kind, name)]

    def children(self, key: Deployment, uid: str) -> tuple[dict[Key, Object], tuple[Object, ...]]:
        """The children that hang on `uid` (or on nobody, with our label), and the pods, which hang on those."""
        found: dict[Key, Object] = {}
        pods = []
        for data in self._children(key):
            body = unpack(data)
            if body["kind"] == "Pod":
                pods.append(body)
            else:
                found[(body["kind"], body["metadata"]["name"])] = body
        written = self._written.get(key, {})
        for name, data in list(written.items()):
            body = unpack(data)
            known = found.get(name)
            if known is not None and _newer(known, body) and (_same(known, body) or not _newer(body, known)):
                del written[name]
            else:
                found[name] = body
        mine = {name: body for name, body in found.items() if _hangs_on(body, uid)}
        return mine, tuple(pods)


def _of(body: Mapping[str, object]) -> Deployment:
    metadata = body["metadata"]
    assert isinstance(metadata, Mapping)  # noqa: S101 - every object has one
    return str(metadata["namespace"]), str(metadata["name"])


def owner_of(body: Mapping[str, object]) -> Deployment | None:
    """Which deployment an object with our label belongs to, None where it is none of our business.

    A Deployment's ReplicaSets carry our labels too, and say nothing that the Deployment does not.
    """
    metadata = body["metadata"]
    assert isinstance(metadata, Mapping)  # noqa: S101 - every object has one
    controllers = [r["kind"] for r in metadata.get("ownerReferences") or () if r.get("controller")]
    if body["kind"] != "Pod" and controllers not in ([], [KIND]):
        return None
    name = (metadata.get("labels") or {}).get(DEPLOYMENT)
    return (str(metadata["namespace"]), str(name)) if name else None


def belongs(body: Object, deployment: Owner) -> bool:
    """Whether an object that was read by its name is this deployment's: its label, and no other owner."""
    return owner_of(body) == (deployment.namespace, deployment.name) and _hangs_on(body, deployment.uid)


def _hangs_on(body: Object, uid: str) -> bool:
    controllers = [r["uid"] for r in body["metadata"].get("ownerReferences") or () if r.get("controller")]
    return controllers == [uid] or not controllers


def _same(one: Object, other: Object) -> bool:
    return bool(one["metadata"].get("uid") == other["metadata"].get("uid"))


def _newer(one: Object, other: Object) -> bool:
    """Resource versions are numbers of one counter (Kubernetes 1.35, KEP-5504); another uid is another object."""
    if one["metadata"].get("uid") != other["metadata"].get("uid"):
        return str(one["metadata"].get("creationTimestamp")) >= str(other["metadata"].get("creationTimestamp"))
    return int(one["metadata"]["resourceVersion"]) >= int(other["metadata"]["resourceVersion"])
