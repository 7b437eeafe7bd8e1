"""How far each component is: what all revisions share, and what the one that answers has of its own. Pure."""

from herald_operator.build import cloudnativepg, gateway, inference, migration, milvus, nats, postgres, workers
from herald_operator.build.context import Context
from herald_operator.planning import databases, readiness
from herald_operator.planning.observed import Observed
from herald_operator.planning.readiness import Readiness
from herald_operator.planning.rollout import Decision
from herald_operator.planning.status import Part


def messaging_ready(context: Context, seen: Observed) -> Readiness:
    """Whether asking NATS is worth it."""
    server = nats.managed(context)
    if server is None:
        return Readiness(True)
    return readiness.workload(seen, "StatefulSet", context.owner.child("nats"), server.replicas, "is starting")


def servers(context: Context, seen: Observed) -> list[Part]:
    """What all revisions share."""
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
    if cloudnativepg.wanted(context.deployment) is not None:
        parts.append(Part("postgres", databases.cloudnativepg(context, seen)))
    if milvus.managed(context) is not None:
        parts.append(Part("milvus", readiness.workload(seen, "StatefulSet", owner.child("milvus"), 1, "is starting")))
    return parts


def services(context: Context, seen: Observed, decision: Decision) -> list[Part]:
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
