"""How a deployment goes: first nothing new comes in, then what is being answered is finished, then the rest. Pure.

Bounded in time: owner references let Kubernetes remove the children whatever happens, so the finalizer only gives
the order, and is taken off when its time is up. Escape, where no operator runs any more:
`kubectl patch agd NAME --type=merge -p '{"metadata":{"finalizers":null}}'`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from herald_operator.build.naming import FINALIZER, Object
from herald_operator.planning.observed import Observed

GATEWAY_SECONDS = 60
WORKERS_SECONDS = 180  # for both; a worker's own grace period goes on after that


@dataclass(frozen=True, slots=True)
class Leaving:
    """`delete` now; `done`: the finalizer may go. `again` in seconds."""

    delete: tuple[Object, ...]
    done: bool
    message: str
    again: float | None = None


def leave(seen: Observed) -> Leaving:
    """The next step of a deletion that began at `seen.deleting`."""
    if FINALIZER not in seen.finalizers:
        return Leaving((), False, "")
    began = _moment(seen.deleting)
    waited = (seen.now - began).total_seconds() if began is not None else float("inf")
    scalers = _of(seen, ("HorizontalPodAutoscaler", "ScaledObject"))
    gateways = _of(seen, ("Deployment",), component="gateway")
    if (gateways or _pods(seen, "gateway")) and waited < GATEWAY_SECONDS:
        return Leaving(_alive((*scalers, *gateways)), False, "the gateway leaves", GATEWAY_SECONDS - waited)
    crews = _of(seen, ("ReplicaSet",), component="agent")
    if (crews or _pods(seen, "agent")) and waited < WORKERS_SECONDS:
        gone = _alive((*scalers, *gateways, *crews))
        return Leaving(gone, False, "the workers finish what they have", WORKERS_SECONDS - waited)
    return Leaving((), True, "gone")


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
