"""What has to begin anew: workers with settings of yesterday, a migration that failed, a record garbled. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from herald_operator.build import workers
from herald_operator.build.context import Context
from herald_operator.build.history import from_object
from herald_operator.build.naming import REVISION, SETTINGS, Object
from herald_operator.build.shape import Shape, at
from herald_operator.planning.children import leaving
from herald_operator.planning.observed import Observed
from herald_operator.planning.rollout import Decision

_RETRY_MIGRATION = 60.0  # seconds


def outdated(context: Context, seen: Observed, decision: Decision) -> tuple[Object, ...]:
    """Pods of workers that began with settings of yesterday."""
    gone: list[Object] = []
    for name in decision.running:
        crew = seen.child("ReplicaSet", workers.name(context, name))
        known = decision.revisions.get(name)
        if crew is None or known is None or known.shape is None:
            continue
        wanted = workers.objects(context, name, known.shape)[1]
        current = crew["spec"]["template"]["metadata"].get("annotations") or {}
        if current.get(SETTINGS) != wanted["spec"]["template"]["metadata"]["annotations"][SETTINGS]:
            continue  # first the template, then the pods
        size = int(crew["spec"].get("replicas") or 0)
        available = int((crew.get("status") or {}).get("availableReplicas") or 0)
        hurry = name == decision.candidate
        if hurry or available >= size:
            gone += _next(context, seen, name, known.shape, all_at_once=hurry)
    return tuple(gone)


def _next(context: Context, seen: Observed, name: str, shape: Shape, *, all_at_once: bool) -> tuple[Object, ...]:
    """Workers that began with other settings than today's: the next one to be replaced, or all of them."""
    digest = workers.settings_digest(at(context, shape), workers.render(context, name, shape))
    pods = seen.pods_with(context.owner.selector(workers.COMPONENT, **{REVISION: name}))
    old = [p for p in pods if (p["metadata"].get("annotations") or {}).get(SETTINGS) != digest]
    old = sorted((p for p in old if not leaving(p)), key=lambda p: str(p["metadata"]["name"]))
    if all_at_once:
        return tuple(old)
    return tuple(old[:1]) if old and not any(leaving(p) for p in pods) else ()


def failed_migration(seen: Observed) -> tuple[tuple[Object, ...], float | None]:
    """A migration that failed is tried again after a while, as a new Job."""
    for body in seen.of_kind("Job"):
        for condition in (body.get("status") or {}).get("conditions") or ():
            if condition.get("type") != "Failed" or condition.get("status") != "True":
                continue
            waited = (seen.now - _moment(condition.get("lastTransitionTime"), seen.now)).total_seconds()
            if waited >= _RETRY_MIGRATION:
                return (body,), None
            return (), _RETRY_MIGRATION - waited
    return (), None


def unreadable(seen: Observed, wanted: Iterable[Object]) -> tuple[Object, ...]:
    """Live revisions whose data nobody can read, of those that are to be made: an API server takes no other data."""
    gone = []
    for body in wanted:
        live = seen.child(body["kind"], body["metadata"]["name"])
        if body["kind"] != "ControllerRevision" or live is None or live.get("data") == body["data"]:
            continue
        known = from_object(live)
        if known is None or known.shape is None:
            gone.append(live)
    return tuple(gone)


def _moment(text: object, otherwise: datetime) -> datetime:
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return otherwise
