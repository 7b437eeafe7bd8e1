"""How a deployment goes: first nothing new comes in, then what is being answered is finished, then the rest. Pure.

What becomes of the data is decided by the policy as it is now, not by what a StatefulSet was once told: somebody
who asks to keep the data and removes the deployment in the next breath gets what was asked for last.

Bounded in time: owner references let Kubernetes remove the children whatever happens, so the finalizer only gives
the order, and is taken off when its time is up. Escape, where no operator runs any more:
`kubectl patch agd NAME --type=merge -p '{"metadata":{"finalizers":null}}'`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from herald_operator.build import cloudnativepg
from herald_operator.build.naming import FINALIZER, INSTANCE, Object
from herald_operator.planning.children import Scale
from herald_operator.planning.observed import Observed

GATEWAY_SECONDS = 60
WORKERS_SECONDS = 180  # for both; a worker's own grace period goes on after that
SERVERS_SECONDS = 300  # for all
CLAIM = "PersistentVolumeClaim"
DATA = (CLAIM, "Secret", cloudnativepg.KIND)  # `Observed.children` has those that hold data or open them
_SOON = 1.0  # no watch tells of all that is patched
_KEPT = "the data are kept"
_RETAIN = {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}}}


@dataclass(frozen=True, slots=True)
class Leaving:
    """`delete` now; `done`: the finalizer may go. `patch` are live objects and what to merge. `again` in seconds."""

    delete: tuple[Object, ...]
    done: bool
    message: str
    again: float | None = None
    scale: tuple[Scale, ...] = ()
    patch: tuple[tuple[Object, Object], ...] = ()


def leave(seen: Observed) -> Leaving:
    """The next step of a deletion that began at `seen.deleting`; its volumes are among `seen.children`."""
    if FINALIZER not in seen.finalizers:
        return Leaving((), False, "")
    began = _moment(seen.deleting)
    waited = (seen.now - began).total_seconds() if began is not None else float("inf")
    sets, erase = _of(seen, ("StatefulSet",)), seen.resource["spec"].get("deletionPolicy") == "Delete"
    kept = None if erase else _keep(seen, sets, SERVERS_SECONDS - waited)
    if kept is not None:
        return kept
    scalers = _of(seen, ("HorizontalPodAutoscaler", "ScaledObject"))
    gateways = _of(seen, ("Deployment",), component="gateway")
    if (gateways or _pods(seen, "gateway")) and waited < GATEWAY_SECONDS:
        return Leaving(_alive((*scalers, *gateways)), False, "the gateway leaves", GATEWAY_SECONDS - waited)
    crews = _of(seen, ("ReplicaSet",), component="agent")
    if (crews or _pods(seen, "agent")) and waited < WORKERS_SECONDS:
        gone = _alive((*scalers, *gateways, *crews))
        return Leaving(gone, False, "the workers finish what they have", WORKERS_SECONDS - waited)
    erased = _erase(seen, sets, SERVERS_SECONDS - waited) if erase else None
    return erased or Leaving((), True, "gone")


def _keep(seen: Observed, sets: tuple[Object, ...], left: float) -> Leaving | None:
    """First of all: nothing that holds data, or opens them, may hang on what is about to go."""
    told = tuple((s, _RETAIN) for s in sets if _retention(s) != "Retain")
    ours = seen.resource["metadata"]["uid"]
    bound = tuple(_freed(b, {ours}) for b in _of(seen, DATA) if ours in _owners(b))
    if told or bound:
        return Leaving((), False, _KEPT, _SOON, patch=(*told, *bound))
    uids = {str(s["metadata"]["uid"]) for s in sets}
    hanging = tuple(_freed(v, uids) for v in _volumes(seen, sets) if not uids.isdisjoint(_owners(v)))
    if hanging and left > 0 and not all(_heard(s) for s in sets):
        return Leaving((), False, _KEPT, left)
    return Leaving((), False, _KEPT, _SOON, patch=hanging) if hanging else None


def _erase(seen: Observed, sets: tuple[Object, ...], left: float) -> Leaving | None:
    """Kubernetes would do it too, but loses sight of a volume that is made while its StatefulSet is removed.

    One that has seen that it shall have no pods makes no more volumes.
    """
    if left <= 0:
        return None
    standing = tuple(s for s in sets if not _stopped(s))
    if standing:
        scale = tuple(Scale("StatefulSet", s["metadata"]["name"], 0) for s in standing)
        return Leaving((), False, "the servers stop", left, scale=scale)
    going = _alive((*_volumes(seen, sets), *sets))  # in this order: without its StatefulSet no volume is found again
    return Leaving(going, False, "the volumes go", left) if going else None


def _freed(body: Object, owners: set[str]) -> tuple[Object, Object]:
    """No owner, and no label by which Argo CD would prune it (see `naming`)."""
    others = [r for r in body["metadata"]["ownerReferences"] if r["uid"] not in owners]
    return body, {"metadata": {"ownerReferences": others, "labels": {INSTANCE: None}}}


def _volumes(seen: Observed, sets: tuple[Object, ...]) -> tuple[Object, ...]:
    """Those that the StatefulSets made: others with our label are of an earlier deployment of that name."""
    beginnings = tuple(
        f"{template['metadata']['name']}-{s['metadata']['name']}-"
        for s in sets
        for template in s["spec"].get("volumeClaimTemplates") or ()
    )
    return tuple(v for v in _of(seen, (CLAIM,)) if v["metadata"]["name"].startswith(beginnings))


def _stopped(body: Object) -> bool:
    return int(body["spec"].get("replicas", 1)) == 0 and _heard(body) and not body["status"].get("replicas")


def _heard(body: Object) -> bool:
    """Whether Kubernetes has looked at it as it is now."""
    observed = int((body.get("status") or {}).get("observedGeneration") or 0)
    return observed >= int(body["metadata"].get("generation") or 1)


def _retention(body: Object) -> str:
    return str((body["spec"].get("persistentVolumeClaimRetentionPolicy") or {}).get("whenDeleted", "Retain"))


def _owners(body: Object) -> tuple[str, ...]:
    return tuple(str(r["uid"]) for r in body["metadata"].get("ownerReferences") or ())


def _of(seen: Observed, kinds: tuple[str, ...], component: str = "") -> tuple[Object, ...]:
    return tuple(
        body
        for (kind, _), body in sorted(seen.children.items())
        if kind in kinds and (not component or _component(body) == component)
    )


def _pods(seen: Observed, component: str) -> bool:
    return any(_component(pod) == component for pod in seen.pods)


def _component(body: Object) -> str:
    return str((body["metadata"].get("labels") or {}).get("app.kubernetes.io/component", ""))


def _alive(bodies: Iterable[Object]) -> tuple[Object, ...]:
    return tuple(b for b in bodies if not b["metadata"].get("deletionTimestamp"))


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
