"""One look, one plan: what is to be made, scaled, removed, switched and said. Pure."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.rollout import Rollout
from herald_contracts.streams import Topology, topology
from herald_contracts.subjects import Names
from herald_operator.build import gateway, inference, migration, milvus, nats, postgres, workers
from herald_operator.build.context import Context
from herald_operator.build.history import from_object
from herald_operator.build.naming import FINALIZER, Object
from herald_operator.build.settings import revision
from herald_operator.build.shape import shape
from herald_operator.planning import accepting, children, deletion, readiness, status
from herald_operator.planning.accepting import Refusal
from herald_operator.planning.children import Scale
from herald_operator.planning.observed import Observed
from herald_operator.planning.readiness import Readiness
from herald_operator.planning.rollout import Commands, Crew, Decision, Seen, decide
from herald_operator.planning.status import Part, Verdict

_ANNOTATION = "herald.dev/"
_RETRY_MIGRATION = 60.0  # seconds
_ASK_AGAIN = 10.0  # seconds: no watch tells that NATS is back


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order: `make`, `scale`, `delete`, `record`, `consume`, `finalizer`, `status`.

    `consume` are annotations that were obeyed, or could not be: `declined` says why. `finalizer` True: add ours,
    False: take it off, None: leave it.
    """

    status: Object
    make: tuple[Object, ...] = ()
    scale: tuple[Scale, ...] = ()
    delete: tuple[Object, ...] = ()
    record: Rollout | None = None
    consume: tuple[str, ...] = ()
    declined: str = ""
    finalizer: bool | None = None
    again: float | None = None


def streams(context: Context) -> Topology:
    """What NATS should hold for this deployment."""
    metadata = context.deployment.metadata
    pages = tuple(c.name for c in context.deployment.spec.channels if c.web is not None)
    return topology(
        Names(metadata.namespace, metadata.name),
        web_channels=pages,
        replicas=nats.copies(context),
        storage=nats.storage(context),
    )


def messaging_ready(context: Context, seen: Observed) -> Readiness:
    """Whether asking NATS is worth it."""
    server = nats.managed(context)
    if server is None:
        return Readiness(True)
    return readiness.workload(seen, "StatefulSet", context.owner.child("nats"), server.replicas, "is starting")


def refused(seen: Observed, refusal: Refusal) -> Plan:
    """Nothing is changed: what runs goes on."""
    accepted = Verdict("Accepted", "False", refusal.reason, refusal.message)
    ready = Verdict("Ready", "False", refusal.reason, refusal.message)
    live = seen.resource.get("status") or {}
    kept = {key: value for key, value in live.items() if key not in ("observedGeneration", "phase", "conditions")}
    return Plan(_said(seen, [accepted, ready], kept))


def deleting(seen: Observed) -> Plan:
    """The next step of a deletion."""
    step = deletion.leave(seen)
    live = seen.resource.get("status") or {}
    said = {**live, "phase": "Deleting"} if live else {"phase": "Deleting"}
    if "conditions" in said:
        said["conditions"] = status.ours(live)
    return Plan(said, delete=step.delete, finalizer=False if step.done else None, again=step.again)


def make(context: Context, seen: Observed) -> Plan:
    """The plan for a resource that is accepted, with its instructions in place."""
    spec, owner = context.deployment.spec, context.owner
    parts = _servers(context, seen)
    database = all(p.readiness.ready for p in parts if p.name == "postgres")
    decision = _decide(context, seen, database)
    made = children.of_revisions(context, seen, decision, database_ready=database)
    stop = spec.suspend
    gone = stop and not seen.pods_with(owner.selector(gateway.COMPONENT))
    idle = gone and not seen.pods_with(owner.selector(workers.COMPONENT))
    wanted = (*children.servers(context, decision, stopped=idle), *children.gateways(context, seen.apis), *made.make)
    scale = [*made.scale, *children.gateway_size(context, seen)]
    autoscalers: tuple[Object, ...] = ()
    if stop:
        wanted = tuple(o for o in wanted if not _starts(o, seen))
        autoscalers = children.autoscalers(seen)
        scale = children.stopped(context, seen, wanted, gateway_gone=gone, workers_gone=idle)
    parts += _services(context, seen, decision)
    delete = children.unused(seen, wanted, made.keep) if seen.messaging.known or not decision.active else ()
    delete += tuple(a for a in autoscalers if a not in delete)
    delete += _replaced(context, seen, decision)
    failed_job, again = _failed_migration(seen)
    asking = messaging_ready(context, seen).ready and not seen.messaging.known and not stop
    plan = Plan(
        status={},
        make=wanted,
        scale=tuple(dict.fromkeys(scale)),
        delete=(*delete, *failed_job),
        record=None if stop else decision.record,
        consume=tuple(c for c in accepting.command_names() if f"{_ANNOTATION}{c}" in seen.annotations),
        declined=decision.refused,
        finalizer=None if FINALIZER in seen.finalizers else True,
        again=min((s for s in (decision.again, again, _ASK_AGAIN if asking else None) if s is not None), default=None),
    )
    said = _said(seen, _verdicts(context, seen, parts, decision), _fields(context, seen, parts, decision))
    return replace(plan, status=said)


def held(context: Context, seen: Observed) -> Plan:
    """`spec.paused`: look and say, change nothing."""
    plan = make(context, seen)
    return Plan(status=plan.status)


def with_refusals(seen: Observed, said: Object, problems: list[str]) -> Object:
    """The status of a pass in which the API server would not have everything."""
    message = "; ".join(problems)[:2_000]
    others = [c for c in said.get("conditions") or [] if c["type"] != "Ready"]
    generation = int(seen.resource["metadata"].get("generation") or 0)
    live = seen.resource.get("status") or {}
    ready = status.conditions([Verdict("Ready", "False", "ApplyFailed", message)], live, generation, seen.now)
    return {**said, "phase": "Degraded", "conditions": sorted([*others, *ready], key=lambda c: str(c["type"]))}


def news(said: Object, live: Object) -> list[tuple[str, str, str]]:
    """What of a new status is worth an Event."""
    return status.transitions(said, live)


def _starts(wanted: Object, seen: Observed) -> bool:
    """Whether applying it would start pods, be it for the moment until they are scaled to none."""
    if wanted["kind"] in children.AUTOSCALERS:
        return True
    return wanted["kind"] in ("Deployment", "ReplicaSet", "Job") and not seen.child(
        wanted["kind"], wanted["metadata"]["name"]
    )


def _servers(context: Context, seen: Observed) -> list[Part]:
    owner, parts = context.owner, []
    ready = messaging_ready(context, seen)
    if ready.ready:
        said = seen.messaging
        ready = Readiness(said.known, said.message or "; ".join(said.kept), trouble=bool(said.message))
    parts.append(Part("nats", ready))
    if postgres.managed(context) is not None:
        parts.append(
            Part("postgres", readiness.workload(seen, "StatefulSet", owner.child("postgres"), 1, "is starting"))
        )
    if milvus.managed(context) is not None:
        parts.append(Part("milvus", readiness.workload(seen, "StatefulSet", owner.child("milvus"), 1, "is starting")))
    return parts


def _decide(context: Context, seen: Observed, database_ready: bool) -> Decision:
    spec = context.deployment.spec
    revisions = {r.name: r for body in seen.of_kind("ControllerRevision") if (r := from_object(body)) is not None}
    active = seen.messaging.record.active if seen.messaging.record is not None else ""
    wanted, made = revision(context.deployment), shape(context.deployment, context.images)
    crews: dict[str, Crew] = {}
    ready: set[str] = set()
    waits: dict[str, str] = {}
    for name in {*revisions, wanted, active} - {""}:
        crew = workers.name(context, name)
        if seen.child("ReplicaSet", crew) is not None:
            size = children.crew_size(context, seen, active)
            state = readiness.workload(seen, "ReplicaSet", crew, size, "its workers are starting")
            crews[name] = Crew(state.ready, state.message)
        kept = revisions[name].shape if name in revisions else made if name == wanted else None
        if kept is None:
            continue
        job = readiness.job(seen, migration.name(context, kept))
        steps = [("the migration", job if database_ready else Readiness(False, "waits for the database"))]
        for unit in inference.units(context, kept):
            state = readiness.workload(seen, "Deployment", unit.name, unit.replicas, "is loading its models")
            steps.append(("inference", state))
        behind = [(part, state) for part, state in steps if not state.ready]
        if not behind:
            ready.add(name)
        else:
            part, state = next((step for step in behind if step[1].trouble), behind[0])
            waits[name] = f"{part} {state.message}"
    notes = seen.annotations
    return decide(
        Seen(
            wanted=wanted,
            shape=made,
            spec=spec.rollout,
            now=seen.now,
            revisions=revisions,
            record=seen.messaging.record,
            known=seen.messaging.known and not spec.suspend,
            crews=crews,
            ready=frozenset(ready),
            waits=waits,
            commands=Commands(
                promote=f"{_ANNOTATION}promote" in notes,
                abort=f"{_ANNOTATION}abort" in notes,
                retry=f"{_ANNOTATION}retry" in notes,
                rollback_to=notes.get(f"{_ANNOTATION}rollback-to", ""),
            ),
        )
    )


def _services(context: Context, seen: Observed, decision: Decision) -> list[Part]:
    """Of the revision that answers, or of the first one while none does."""
    owner, spec = context.owner, context.deployment.spec
    shown = decision.active or decision.candidate
    kept = decision.revisions[shown].shape if shown in decision.revisions else None
    parts = []
    if kept is not None:
        parts.append(Part("migration", readiness.job(seen, migration.name(context, kept))))
        for unit in inference.units(context, kept):
            state = readiness.workload(seen, "Deployment", unit.name, unit.replicas, "is loading its models")
            parts.append(Part("inference", state))
    size = gateway.replicas(context) or (spec.gateway.autoscaling.min if spec.gateway.autoscaling is not None else 1)
    parts.append(Part("gateway", readiness.workload(seen, "Deployment", owner.child("gateway"), size, "is starting")))
    if shown:
        least = spec.agent.least
        crew = workers.name(context, shown)
        state = readiness.workload(seen, "ReplicaSet", crew, least, "are starting")
        if seen.child("ReplicaSet", crew) is None:
            state = Readiness(False, "wait for the database and its migration")
        parts.append(Part("agents", state))
    return parts


def _replaced(context: Context, seen: Observed, decision: Decision) -> tuple[Object, ...]:
    """Pods of workers that began with settings of yesterday."""
    gone: list[Object] = []
    for name in decision.running:
        crew = seen.child("ReplicaSet", workers.name(context, name))
        known = decision.revisions.get(name)
        if crew is None or known is None or known.shape is None:
            continue
        wanted = workers.objects(context, name, known.shape)[1]
        current = crew["spec"]["template"]["metadata"].get("annotations") or {}
        if (
            current.get("herald.dev/settings")
            != wanted["spec"]["template"]["metadata"]["annotations"]["herald.dev/settings"]
        ):
            continue  # first the template, then the pods
        size = int(crew["spec"].get("replicas") or 0)
        available = int((crew.get("status") or {}).get("availableReplicas") or 0)
        hurry = name == decision.candidate
        if hurry or available >= size:
            gone += children.outdated_pods(context, seen, name, known.shape, all_at_once=hurry)
    return tuple(gone)


def _failed_migration(seen: Observed) -> tuple[tuple[Object, ...], float | None]:
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


def _verdicts(context: Context, seen: Observed, parts: list[Part], decision: Decision) -> list[Verdict]:
    spec = context.deployment.spec
    verdicts = [Verdict("Accepted", "True", "Accepted", decision.refused), *status.of_parts(parts)]
    missing = _missing_apis(context.deployment, seen.apis)
    if missing:
        verdicts.append(Verdict("IntegrationsReady", "False", "ApiMissing", missing))
    verdicts += status.of_rollout(decision, paused=spec.paused)
    verdicts.append(status.summary(verdicts, active=decision.active, suspended=spec.suspend))
    return verdicts


def _missing_apis(deployment: AgentDeployment, apis: frozenset[str]) -> str:
    spec, missing = deployment.spec, []
    if spec.gateway.route is not None and spec.gateway.route.http_route is not None and "HTTPRoute" not in apis:
        missing.append("spec.gateway.route.httpRoute needs the Gateway API, which this cluster does not serve")
    if spec.agent.autoscaling is not None and "ScaledObject" not in apis:
        missing.append("without KEDA workers are scaled by CPU, not by the messages that wait")
    return "; ".join(missing)


def _fields(context: Context, seen: Observed, parts: list[Part], decision: Decision) -> Object:
    crew = seen.child("ReplicaSet", workers.name(context, decision.active)) if decision.active else None
    labels = context.owner.selector(workers.COMPONENT)
    components: dict[str, Object] = {}
    for part in parts:
        state = {"name": part.name, "ready": part.readiness.ready, "message": part.readiness.message}
        if part.name not in components or components[part.name]["ready"]:
            components[part.name] = state
    return {
        "activeRevision": decision.active,
        "candidateRevision": decision.candidate,
        "stableRevision": seen.messaging.record.stable if seen.messaging.record is not None else "",
        "history": status.history(decision),
        "channels": [
            {"name": c.name, "type": c.type, "callbackURL": gateway.callback_url(context, c.name)}
            for c in context.deployment.spec.channels
        ],
        "channelNames": ", ".join(c.name for c in context.deployment.spec.channels),
        "components": list(components.values()),
        "replicas": int(((crew or {}).get("status") or {}).get("readyReplicas") or 0),
        "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
    }


def _said(seen: Observed, verdicts: list[Verdict], fields: Object) -> Object:
    live = seen.resource.get("status") or {}
    generation = int(seen.resource["metadata"].get("generation") or 0)
    spec = seen.resource.get("spec") or {}
    word = status.phase(
        {v.type: v for v in verdicts},
        deleting=seen.deleting is not None,
        suspended=bool(spec.get("suspend")),
        paused=bool(spec.get("paused")),
        active=str(fields.get("activeRevision", "")),
    )
    return {
        "observedGeneration": generation,
        "phase": word,
        **fields,
        "conditions": status.conditions(verdicts, live, generation, seen.now),
    }


def _moment(text: object, otherwise: datetime) -> datetime:
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return otherwise
