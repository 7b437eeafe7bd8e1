"""The whole set of children that a deployment should have at this moment, in the order in which they are made. Pure.

What waits for something else is left out until then, but not taken away where it exists: `keep` says what may stay.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from herald_operator.build import (
    cloudnativepg,
    gateway,
    history,
    inference,
    migration,
    milvus,
    nats,
    network,
    postgres,
    routing,
    scaling,
    workers,
)
from herald_operator.build.context import Context
from herald_operator.build.naming import Object
from herald_operator.build.settings import session_secret
from herald_operator.build.shape import remembering
from herald_operator.planning import readiness
from herald_operator.planning.observed import Key, Observed
from herald_operator.planning.rollout import Decision

AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
_EXTRAS = ("HTTPRoute", "ScaledObject", "TriggerAuthentication", "PodMonitor")
OPTIONAL = (*_EXTRAS, cloudnativepg.KIND)
# Of these kinds we remove what is not wanted any more. What holds data, and a Secret, is never removed by a change of
# the spec.
PRUNED = frozenset(
    {
        "Deployment", "StatefulSet", "ReplicaSet", "Job", "Service", "ConfigMap", "ControllerRevision", "NetworkPolicy",
        "PodDisruptionBudget", "HorizontalPodAutoscaler", "Ingress", *_EXTRAS,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scale:
    """How many pods one child should have; set apart from the rest, because an autoscaler may own it."""

    kind: str
    name: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Children:
    """`make` in order; `keep` may stay though it is not made now."""

    make: tuple[Object, ...]
    keep: frozenset[Key]
    scale: tuple[Scale, ...]


def operator_secret(context: Context) -> str:
    """Name of the Secret with the key that digests of other Secrets are made with."""
    return context.owner.child("operator")


def secrets(context: Context, seen: Observed) -> tuple[Object, ...]:
    """The Secrets that Herald makes up: those that are missing, whose rendered parts or whose fate have changed."""
    owner, made = context.owner, []
    keep_forever = context.deployment.spec.deletion_policy == "Retain"

    def add(name: str, component: str, rendered: dict[str, str], *, owned: bool = True, moved: bool = False) -> None:
        there = seen.secrets.get(name) or {}
        if moved or any(there.get(key) != value.encode() for key, value in rendered.items()):
            data = {key: base64.b64encode(value.encode()).decode() for key, value in rendered.items()}
            made.append(owner.object("Secret", "v1", name, component, {"type": "Opaque", "data": data}, owned=owned))

    def kept(name: str, key: str) -> str:
        there = (seen.secrets.get(name) or {}).get(key)
        return there.decode() if there else hashlib.sha256(f"{seen.entropy}/{name}/{key}".encode()).hexdigest()[:48]

    add(operator_secret(context), "operator", {"key": kept(operator_secret(context), "key")})
    if nats.managed(context) is not None:
        name = owner.child("nats")
        add(name, nats.COMPONENT, nats.credentials(context, kept(name, "password")))
    if postgres.managed(context) is not None:
        name = owner.child("postgres")
        # Whoever keeps the data needs the password that opens it.
        rendered = postgres.credentials(context, kept(name, "password"))
        add(name, postgres.COMPONENT, rendered, owned=not keep_forever, moved=(name in seen.bound) == keep_forever)
    for channel in context.deployment.spec.channels:
        if channel.web is not None:
            name = session_secret(context.deployment, channel.name)
            add(name, gateway.COMPONENT, {"session-key": kept(name, "session-key")})
    return tuple(made)


def servers(context: Context, decision: Decision, apis: frozenset[str], *, stopped: bool) -> tuple[Object, ...]:
    """What all revisions share: whatever one that is running needs is there."""
    running = [r.shape for name in decision.running if (r := decision.revisions.get(name)) is not None and r.shape]
    owner, context = context.owner, remembering(context, running)
    count = 0 if stopped else None
    account = owner.object("ServiceAccount", "v1", owner.name, "account", {"automountServiceAccountToken": False})
    return (
        account,
        *network.objects(context, running),
        *nats.objects(context, replicas=count),
        *postgres.objects(context, replicas=0 if stopped else 1),
        *_served(cloudnativepg.objects(context, stopped=stopped), apis),
        *milvus.objects(context, replicas=0 if stopped else 1),
        *inference.cache(context),
    )


def gateways(context: Context, apis: frozenset[str]) -> tuple[Object, ...]:
    return (
        *gateway.objects(context),
        *scaling.gateways(context),
        *_served(routing.routes(context), apis),
        *_served(routing.monitors(context), apis),
    )


def of_revisions(context: Context, seen: Observed, decision: Decision, *, database_ready: bool) -> Children:
    """Revisions, their models, their migration and their workers."""
    owner = context.owner
    make: list[Object] = []
    keep: set[Key] = set()
    scale: list[Scale] = []
    shapes = {name: r.shape for name, r in decision.revisions.items()}
    make += [history.to_object(owner, r) for r in decision.revisions.values() if r.shape is not None]
    keep |= {("ControllerRevision", owner.child(name)) for name in decision.revisions}
    for name in decision.running:
        shape = shapes.get(name)
        if shape is None:
            # Nobody knows how it was made, but it may be the one that answers.
            keep |= {(kind, workers.name(context, name)) for kind in ("ReplicaSet", "ConfigMap")}
            keep |= {key for key in seen.children if key[0] in ("Deployment", "Service") and "-inference-" in key[1]}
            continue
        for unit in inference.units(context, shape):
            make += inference.objects(context, unit)
            scale.append(Scale("Deployment", unit.name, unit.replicas))
        settings, crew = workers.objects(context, name, shape)
        make.append(settings)
        job = migration.name(context, shape)
        keep.add(("Job", job))
        if not readiness.job(seen, job).ready:
            there = seen.child("Job", job)
            if there is not None:
                # Its template cannot be changed, and it goes on with the settings that it began with.
                keep |= _settings_of(there)
            elif database_ready:
                make += migration.objects(context, name, shape)
            if seen.child("ReplicaSet", workers.name(context, name)) is None:
                continue
        make.append(crew)
        scale += _crew_size(context, seen, decision, name)
    if decision.active and context.deployment.spec.agent.autoscaling is not None:
        make += _served(scaling.agents(context, decision.active, keda="ScaledObject" in seen.apis), seen.apis)
    if context.deployment.spec.agent.most > 1:
        make.append(workers.budget(context))
    # Two revisions may share a model server and a migration.
    once = {(o["kind"], o["metadata"]["name"]): o for o in reversed(make)}
    return Children(tuple(reversed(once.values())), frozenset(keep), tuple(dict.fromkeys(scale)))


def _settings_of(job: Object) -> set[Key]:
    volumes = job["spec"]["template"]["spec"].get("volumes") or ()
    return {("ConfigMap", v["configMap"]["name"]) for v in volumes if v.get("configMap")}


def gateway_size(context: Context, seen: Observed) -> tuple[Scale, ...]:
    """Nothing where an autoscaler is at work: it leaves alone what is at 0, as after a suspend."""
    name, count = context.owner.child("gateway"), gateway.replicas(context)
    autoscaling = context.deployment.spec.gateway.autoscaling
    if autoscaling is not None:
        live = seen.child("Deployment", name)
        now = int(live["spec"].get("replicas", 1)) if live is not None else 1
        count = autoscaling.min if now < autoscaling.min else None
    return (Scale("Deployment", name, count),) if count is not None else ()


def stopped(
    context: Context, seen: Observed, wanted: Iterable[Object], *, gateway_gone: bool, workers_gone: bool
) -> list[Scale]:
    """Who goes next: the gateway, then the workers, who may need their models to the end, then those."""
    bodies = {(b["kind"], b["metadata"]["name"]): b for b in (*wanted, *seen.children.values())}
    going = {"gateway": True, workers.COMPONENT: gateway_gone, inference.COMPONENT: workers_gone}
    return [
        Scale(kind, name, 0)
        for (kind, name), body in bodies.items()
        if kind in ("Deployment", "ReplicaSet")
        and going.get(body["metadata"]["labels"]["app.kubernetes.io/component"], False)
    ]


def autoscalers(seen: Observed) -> tuple[Object, ...]:
    """Those there are: they must not start again what is being stopped."""
    return tuple(b for key, b in sorted(seen.children.items()) if key[0] in AUTOSCALERS and not leaving(b))


def crew_size(context: Context, seen: Observed, active: str) -> int:
    """How many workers a revision needs before it may take over."""
    agent = context.deployment.spec.agent
    if agent.autoscaling is None:
        return agent.least
    running = seen.child("ReplicaSet", workers.name(context, active)) if active else None
    now = int(running["spec"].get("replicas") or 0) if running is not None else 0
    return min(max(agent.least, now), agent.most)


def _crew_size(context: Context, seen: Observed, decision: Decision, name: str) -> Iterable[Scale]:
    crew = workers.name(context, name)
    if context.deployment.spec.agent.autoscaling is None:
        return [Scale("ReplicaSet", crew, context.deployment.spec.agent.least)]
    if name == decision.candidate:
        return [Scale("ReplicaSet", crew, crew_size(context, seen, decision.active))]
    body = seen.child("ReplicaSet", crew)
    now = int(body["spec"].get("replicas") or 0) if body is not None else 0
    least = context.deployment.spec.agent.least
    return [Scale("ReplicaSet", crew, least)] if now < least else []


def unused(seen: Observed, wanted: Iterable[Object], keep: frozenset[Key]) -> tuple[Object, ...]:
    """Children that nobody wants any more, workers first."""
    names = {(o["kind"], o["metadata"]["name"]) for o in wanted} | keep
    gone = [b for key, b in seen.children.items() if key[0] in PRUNED and key not in names and not leaving(b)]
    return tuple(sorted(gone, key=lambda b: (b["kind"] != "ReplicaSet", b["kind"], b["metadata"]["name"])))


def _served(objects: tuple[Object, ...], apis: frozenset[str]) -> tuple[Object, ...]:
    return tuple(o for o in objects if o["kind"] not in OPTIONAL or o["kind"] in apis)


def leaving(body: Object) -> bool:
    """Whether it is on its way out already."""
    return bool(body["metadata"].get("deletionTimestamp"))
