"""One look, one plan: what is to be made, scaled, removed, switched and said. Pure."""

from dataclasses import dataclass

from herald_contracts.rollout import Rollout
from herald_operator.build import cloudnativepg, gateway, workers
from herald_operator.build.context import Context
from herald_operator.build.naming import FINALIZER, Object
from herald_operator.planning import children, components, deletion, renewal, report, revisions
from herald_operator.planning.accepting import Refusal
from herald_operator.planning.children import Scale
from herald_operator.planning.observed import Observed
from herald_operator.planning.rollout import decide

_ASK_AGAIN = 10.0  # seconds: no watch tells that NATS is back; one of CloudNativePG's may be missing


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in the order of the fields; `status` last.

    `anew` are live children that `make` has again and that no write can change: they are removed before it. `patch`
    are live objects and what to merge into them. `consume` are annotations that were obeyed, or could not be:
    `declined` says why. `finalizer` True: add ours, False: take it off, None: leave it.
    """

    status: Object
    anew: tuple[Object, ...] = ()
    make: tuple[Object, ...] = ()
    scale: tuple[Scale, ...] = ()
    patch: tuple[tuple[Object, Object], ...] = ()
    delete: tuple[Object, ...] = ()
    record: Rollout | None = None
    consume: tuple[str, ...] = ()
    declined: str = ""
    finalizer: bool | None = None
    again: float | None = None


def refused(seen: Observed, refusal: Refusal) -> Plan:
    """Nothing that runs is changed: it goes on."""
    return Plan(report.of_refusal(seen, refusal), make=revisions.halted(seen))


def deleting(seen: Observed) -> Plan:
    """The next step of a deletion."""
    step = deletion.leave(seen)
    return Plan(
        report.of_deletion(seen),
        scale=step.scale,
        patch=step.patch,
        delete=step.delete,
        finalizer=False if step.done else None,
        again=step.again,
    )


def make(context: Context, seen: Observed) -> Plan:
    """The plan for a resource that is accepted, with its instructions in place."""
    spec, owner = context.deployment.spec, context.owner
    parts = components.servers(context, seen)
    database = all(p.readiness.ready for p in parts if p.name == "postgres")
    decision = decide(revisions.look(context, seen, database_ready=database))
    made = children.of_revisions(context, seen, decision, database_ready=database)
    stop = spec.suspend
    gone = stop and not seen.pods_with(owner.selector(gateway.COMPONENT))
    idle = gone and not seen.pods_with(owner.selector(workers.COMPONENT))
    servers = children.servers(context, decision, seen.apis, stopped=idle)
    wanted = (*servers, *children.gateways(context, seen.apis), *made.make)
    scale = [*made.scale, *children.gateway_size(context, seen)]
    autoscalers: tuple[Object, ...] = ()
    if stop:
        wanted = tuple(o for o in wanted if not _starts(o, seen))
        autoscalers = children.autoscalers(seen)
        scale = children.stopped(context, seen, wanted, gateway_gone=gone, workers_gone=idle)
    parts += components.services(context, seen, decision)
    delete = children.unused(seen, wanted, made.keep) if seen.messaging.known or not decision.active else ()
    delete += tuple(a for a in autoscalers if a not in delete)
    delete += renewal.outdated(context, seen, decision)
    failed_job, again = renewal.failed_migration(seen)
    asking = components.messaging_ready(context, seen).ready and not seen.messaging.known and not stop
    asking |= cloudnativepg.wanted(context.deployment) is not None and not database and not stop
    return Plan(
        status=report.of(context, seen, parts, decision),
        anew=renewal.unreadable(seen, wanted),
        make=wanted,
        scale=tuple(dict.fromkeys(scale)),
        delete=(*delete, *failed_job),
        record=None if stop else decision.record,
        consume=revisions.asked(seen),
        declined=decision.refused,
        finalizer=None if FINALIZER in seen.finalizers else True,
        again=min((s for s in (decision.again, again, _ASK_AGAIN if asking else None) if s is not None), default=None),
    )


def held(context: Context, seen: Observed) -> Plan:
    """`spec.paused`: look and say, change nothing that runs."""
    return Plan(make(context, seen).status, make=revisions.halted(seen))


def _starts(wanted: Object, seen: Observed) -> bool:
    """Whether applying it would start pods, be it for the moment until they are scaled to none."""
    if wanted["kind"] in children.AUTOSCALERS:
        return True
    return wanted["kind"] in ("Deployment", "ReplicaSet", "Job", cloudnativepg.KIND) and not seen.child(
        wanted["kind"], wanted["metadata"]["name"]
    )
