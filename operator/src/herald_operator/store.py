"""What is known of each deployment and its children, as small bytes: what watches told and what our own writes
answered, whichever is newer.

A watch tells late of what we wrote ourselves. Without those answers the next look would write it again, or make a
second candidate of what is already one. And a watch that had to begin anew never tells what went meanwhile: `missed`
hears it from a list.
"""

import sys
from collections.abc import Collection, Mapping
from typing import Any

from herald_contracts.resources.v1alpha1 import KIND
from herald_operator.build.naming import DEPLOYMENT, Object, Owner
from herald_operator.packing import Packing, identity
from herald_operator.planning.observed import Key
from herald_operator.queueing import Key as Deployment


class Store:
    """Deployments, and under each name the children that say that they are its."""

    def __init__(self) -> None:
        self._packing = Packing()
        self._resources: dict[Deployment, bytes] = {}
        self._children: dict[Deployment, dict[Key, bytes]] = {}

    def see(self, resource: Mapping[str, Any]) -> None:
        """An event about an AgentDeployment, or the answer to our own write of one; the newer is kept."""
        key = _of(resource)
        if not self._older(resource, self._resources.get(key)):
            self._resources[key] = self._packing.pack(resource)

    def deployments(self) -> tuple[Deployment, ...]:
        """All deployments there are."""
        return tuple(self._resources)

    def gone(self, key: Deployment, uid: str) -> None:
        """This one is; another of that name may be known already: news of two objects come in any order."""
        known = self._resources.get(key)
        if known is None or identity(known)[0] == uid:
            self._resources.pop(key, None)

    def resource(self, key: Deployment) -> Object | None:
        body = self._resources.get(key)
        return self._packing.unpack(body) if body is not None else None

    def see_child(self, key: Deployment, body: Mapping[str, Any]) -> bool:
        """An event about a child or a pod, or the answer to our own write of one; the newer is kept. Whether it is
        news.
        """
        known = self._children.setdefault(key, {})
        name = sys.intern(str(body["kind"])), _of(body)[1]
        before = known.get(name)
        if self._older(body, before):
            return False
        known[name] = self._packing.pack(body)
        return before is None or identity(before) != identity(known[name])

    def child_gone(self, key: Deployment, kind: str, name: str, uid: str) -> None:
        """This one is; another of that name may be known already."""
        known = self._children.get(key, {}).get((kind, name))
        if known is not None and identity(known)[0] == uid:
            self._forget(key, (kind, name))

    def missed(
        self, kind: str, there: Collection[tuple[Deployment, str]], version: int, namespace: str | None = None
    ) -> tuple[Deployment, ...]:
        """Forget what a list of one kind, at `version`, does not have; whose it was.

        `there`: whose the listed are, and their names. `namespace`: the list was of this one only.
        """
        found = []
        if kind == KIND:
            known = [(key, key[1], data) for key, data in self._resources.items()]
        else:
            known = [(key, n, d) for key, those in self._children.items() for (k, n), d in those.items() if k == kind]
        for key, name, data in known:
            if namespace not in (None, key[0]) or (key, name) in there:
                continue
            if identity(data)[1] > version:
                continue  # it is younger than the list
            if kind == KIND:
                del self._resources[key]
            else:
                self._forget(key, (kind, name))
            found.append(key)
        return tuple(dict.fromkeys(found))

    def children(self, key: Deployment, uid: str) -> tuple[dict[Key, Object], tuple[Object, ...]]:
        """The children that hang on `uid` (or on nobody, with our label), and the pods, which hang on those."""
        bodies = {name: self._packing.unpack(data) for name, data in self._children.get(key, {}).items()}
        mine = {name: body for name, body in bodies.items() if name[0] != "Pod" and _hangs_on(body, uid)}
        return mine, tuple(body for name, body in bodies.items() if name[0] == "Pod")

    def _older(self, told: Mapping[str, Any], known: bytes | None) -> bool:
        """Resource versions are numbers of one counter (Kubernetes 1.35, KEP-5504); another uid is another object."""
        if known is None:
            return False
        (uid, version), metadata = identity(known), told["metadata"]
        if metadata["uid"] == uid:
            return int(metadata["resourceVersion"]) < version
        before = str(self._packing.unpack(known)["metadata"]["creationTimestamp"]), version
        return (str(metadata["creationTimestamp"]), int(metadata["resourceVersion"])) < before

    def _forget(self, key: Deployment, name: Key) -> None:
        del self._children[key][name]
        if not self._children[key]:
            del self._children[key]


def _of(body: Mapping[str, Any]) -> Deployment:
    metadata = body["metadata"]
    return str(metadata["namespace"]), str(metadata["name"])


def owner_of(body: Mapping[str, Any]) -> Deployment | None:
    """Which deployment an object with our labels belongs to, None where it is none of our business.

    Its owner says so, and only where it has none its label, which anybody may change. A Deployment's ReplicaSets
    carry our labels too, and say nothing that the Deployment does not.
    """
    metadata = body["metadata"]
    name = (metadata.get("labels") or {}).get(DEPLOYMENT)
    if body["kind"] != "Pod":
        controllers = [r for r in metadata.get("ownerReferences") or () if r.get("controller")]
        if any(r["kind"] != KIND for r in controllers):
            return None
        name = controllers[0]["name"] if controllers else name
    return (str(metadata["namespace"]), str(name)) if name else None


def belongs(body: Object, deployment: Owner) -> bool:
    """Whether an object that was read by its name is this deployment's: its label, and no other owner."""
    return owner_of(body) == (deployment.namespace, deployment.name) and _hangs_on(body, deployment.uid)


def _hangs_on(body: Object, uid: str) -> bool:
    controllers = [r["uid"] for r in body["metadata"].get("ownerReferences") or () if r.get("controller")]
    return controllers == [uid] or not controllers
