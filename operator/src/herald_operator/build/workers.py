"""The workers of one revision: a ReplicaSet of their own, and the settings that shape their answers. Pure."""

from herald_operator.build import inference, pod, settings
from herald_operator.build.context import ETC, HEALTH_PORT, Context
from herald_operator.build.gateway import nats_credentials
from herald_operator.build.naming import REVISION, SETTINGS, Object, digest
from herald_operator.build.secrets import wanted
from herald_operator.build.shape import Shape, at, reshaped

COMPONENT = "agent"
_RESOURCES = {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"memory": "768Mi"}}
_STARTS_TO_LEAVE = 10  # seconds beyond the drain, for everything else that leaving takes


def name(context: Context, revision: str) -> str:
    """Of the ReplicaSet and of the ConfigMap."""
    return context.owner.child(revision)


def objects(context: Context, revision: str, kept: Shape) -> tuple[Object, Object]:
    """Its ConfigMap and its ReplicaSet. How many there are is set apart, so that an autoscaler can own it."""
    context = at(context, kept)
    owner = context.owner
    label = {REVISION: revision}
    selector = owner.selector(COMPONENT, **label)
    rendered = render(context, revision, kept)
    return (
        owner.object(
            "ConfigMap",
            "v1",
            name(context, revision),
            COMPONENT,
            {"data": {"agent.json": rendered}},
            labels=label,
        ),
        owner.object(
            "ReplicaSet",
            "apps/v1",
            name(context, revision),
            COMPONENT,
            {
                "spec": {
                    # A worker that has just become ready may still be about to fail.
                    "minReadySeconds": 2,
                    "selector": {"matchLabels": selector},
                    "template": _template(context, kept, rendered, label),
                }
            },
            labels=label,
        ),
    )


def budget(context: Context) -> Object:
    """Nobody may evict more than one worker at a time."""
    owner = context.owner
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": owner.selector(COMPONENT)}}
    return owner.object("PodDisruptionBudget", "policy/v1", owner.child("agent"), COMPONENT, {"spec": spec})


def render(context: Context, revision: str, kept: Shape) -> str:
    """The settings file of this revision's workers."""
    deployment = reshaped(context.deployment, kept)
    units = inference.units(context, kept)
    namespace = context.owner.namespace
    triton = units[0].address(namespace) if units else ""
    embedder = units[-1].address(namespace) if units else ""
    made = settings.agent(deployment, context.places(triton, embedder), health_port=HEALTH_PORT)
    changed = made.model_copy(
        update={
            "revision": revision,
            "health_host": "0.0.0.0",  # noqa: S104 - a pod's own address is not known before it runs
            "drain_seconds": float(deployment.spec.rollout.drain_deadline_seconds),
        }
    )
    return changed.model_dump_json(indent=1)


def settings_digest(context: Context, rendered: str) -> str:
    """What a worker began with, of the revision that `context` is at. Secrets of channels are the gateway's."""
    used = sorted({w.name for w in wanted(context.deployment) if w.used_by in ("agent", "all")})
    return digest([rendered, {name_: context.secrets.get(name_, "") for name_ in used}, context.restart])


def _template(context: Context, kept: Shape, rendered: str, label: dict[str, str]) -> Object:
    images, owner, spec = context.deployment.spec.images, context.owner, context.deployment.spec
    container = pod.Container(
        name="agent",
        image=kept.agent_image,
        command=("python3", "-m", "herald_agent"),
        args=("--settings", str(ETC / "settings" / "agent.json")),
        ports={"health": HEALTH_PORT},
        mounts=mounts(context, name(context, label[REVISION])),
        probes={
            "startupProbe": pod.http("/healthz/live", "health", period=1, failures=120),
            "readinessProbe": pod.http("/healthz/ready", "health", period=3, failures=3),
            "livenessProbe": pod.http("/healthz/live", "health", period=10, failures=6, timeout=5),
        },
        resources=pod.resources(spec.agent.resources, _RESOURCES),
    )
    return pod.template(
        owner,
        COMPONENT,
        container,
        images,
        pull_secrets=context.images.pull_secrets,
        labels=label,
        annotations={SETTINGS: settings_digest(context, rendered)},
        grace=spec.rollout.drain_deadline_seconds + _STARTS_TO_LEAVE,
        more=pod.spread(owner, COMPONENT, **label),
    )


def mounts(context: Context, config_map: str) -> tuple[pod.Mount, ...]:
    """The files of a worker, and of the migration, which is given the same settings."""
    made = [
        pod.config("settings", config_map, str(ETC / "settings")),
        pod.Mount(
            "postgres",
            str(ETC / "postgres"),
            {
                "secret": {
                    "secretName": context.database_secret,
                    "defaultMode": 0o440,
                    "items": [{"key": context.database_key, "path": "dsn"}],
                }
            },
        ),
        pod.scratch("tmp", "/tmp"),  # noqa: S108 - a volume of the pod's own
    ]
    if context.nats_secret is not None:
        made.append(nats_credentials(context.nats_secret))
    if context.milvus_secret is not None:
        made.append(pod.secret("milvus", context.milvus_secret, str(ETC / "milvus")))
    openai = context.deployment.spec.inference.openai
    if openai is not None and openai.secret_ref is not None:
        reference = openai.secret_ref.name
        made.append(pod.secret("model", reference, str(ETC / "secrets" / reference)))
    return tuple(made)
