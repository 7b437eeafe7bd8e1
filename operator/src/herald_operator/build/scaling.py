"""Autoscalers: by CPU everywhere, and workers by the messages that wait where KEDA is. Pure."""

from herald_operator.build import gateway, workers
from herald_operator.build.context import Context
from herald_operator.build.naming import Object

# Turns that were accepted and have no reply yet, running ones included (herald_agent.store migrations).
_WAITING = "SELECT coalesce(sum(open_turns), 0)::float8 FROM conversations"


def gateways(context: Context) -> tuple[Object, ...]:
    """Nothing where the number is fixed."""
    wanted = context.deployment.spec.gateway.autoscaling
    if wanted is None:
        return ()
    name = context.owner.child("gateway")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return (_by_cpu(context, name, gateway.COMPONENT, target, wanted.min, wanted.max, wanted.cpu_percent),)


def agents(context: Context, revision: str, *, keda: bool) -> tuple[Object, ...]:
    """For the workers of one revision, the active one; nothing where the number is fixed."""
    wanted = context.deployment.spec.agent.autoscaling
    if wanted is None:
        return ()
    owner, name = context.owner, context.owner.child("agent")
    target = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": workers.name(context, revision)}
    if not keda:
        return (_by_cpu(context, name, workers.COMPONENT, target, wanted.min, wanted.max, wanted.cpu_percent),)
    where = {"name": context.database_secret, "key": context.database_key}
    login = {"secretTargetRef": [{"parameter": "connection", **where}]}
    trigger = {
        "type": "postgresql",
        "metadata": {"query": _WAITING, "targetQueryValue": str(wanted.lag_threshold)},
        "authenticationRef": {"name": name},
    }
    spec = {
        "scaleTargetRef": target,
        "minReplicaCount": wanted.min,
        "maxReplicaCount": wanted.max,
        "pollingInterval": 15,
        "cooldownPeriod": 300,
        "triggers": [trigger],
    }
    return (
        owner.object("TriggerAuthentication", "keda.sh/v1alpha1", name, workers.COMPONENT, {"spec": login}),
        owner.object("ScaledObject", "keda.sh/v1alpha1", name, workers.COMPONENT, {"spec": spec}),
    )


def _by_cpu(context: Context, name: str, component: str, target: Object, least: int, most: int, percent: int) -> Object:
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
    }
    spec = {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most, "metrics": [metric]}
    return context.owner.object("HorizontalPodAutoscaler", "autoscaling/v2", name, component, {"spec": spec})
