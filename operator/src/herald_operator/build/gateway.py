"""The gateway: what chat platforms talk to. Pure."""

from herald_contracts.resources.v1alpha1.gateway import Gateway
from herald_operator.build import pod, settings
from herald_operator.build.context import ETC, GATEWAY_PORT, HEALTH_PORT, Context
from herald_operator.build.naming import Object, digest
from herald_operator.build.secrets import wanted

COMPONENT = "gateway"
PORT = 80  # of its Service
_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
_DRAIN = 20  # seconds, the gateway's own default
# Endpoints are told late that a pod leaves; until then new connections still arrive.
_LATE_CONNECTIONS = 5


def objects(context: Context) -> tuple[Object, ...]:
    """Its Deployment and what belongs to it. How many there are is set apart (`replicas`)."""
    owner, name = context.owner, context.owner.child("gateway")
    spec = context.deployment.spec.gateway
    selector = owner.selector(COMPONENT)
    rendered = render(context)
    ports = [
        {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"},
        {"name": "health", "port": HEALTH_PORT, "targetPort": "health", "protocol": "TCP"},
    ]
    made = [
        owner.object("ConfigMap", "v1", name, COMPONENT, {"data": {"gateway.json": rendered}}),
        owner.object("Service", "v1", name, COMPONENT, {"spec": {"selector": selector, "ports": ports}}),
        owner.object(
            "Deployment",
            "apps/v1",
            name,
            COMPONENT,
            {
                "spec": {
                    "revisionHistoryLimit": 2,
                    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                    "selector": {"matchLabels": selector},
                    "template": _template(context, spec, rendered),
                }
            },
        ),
    ]
    if (replicas(context) or 2) > 1:
        budget = {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}}}
        made.append(owner.object("PodDisruptionBudget", "policy/v1", name, COMPONENT, budget))
    return tuple(made)


def render(context: Context) -> str:
    """The settings file."""
    spec = context.deployment.spec.gateway
    made = settings.gateway(
        context.deployment,
        context.places("", ""),
        host="0.0.0.0",  # noqa: S104 - a pod's own address is not known before it runs
        port=GATEWAY_PORT,
        health_host="0.0.0.0",  # noqa: S104
        health_port=HEALTH_PORT,
        public_hosts=(spec.host,) if spec.host is not None else (),
    )
    return made.model_dump_json(indent=1)


def callback_url(context: Context, channel: str) -> str:
    """What a person tells the platform; "" while nobody has said the name that the world knows."""
    spec = context.deployment.spec.gateway
    return f"https://{spec.host}/channels/{channel}/events" if spec.host is not None else ""


def replicas(context: Context) -> int | None:
    """How many; None leaves it to an autoscaler."""
    spec = context.deployment.spec.gateway
    return None if spec.autoscaling is not None else spec.replicas or 2


def _template(context: Context, spec: Gateway, rendered: str) -> Object:
    images, owner = context.deployment.spec.images, context.owner
    mounts = [
        pod.config("settings", owner.child("gateway"), str(ETC / "settings")),
        pod.scratch("tmp", "/tmp"),  # noqa: S108 - a volume of the pod's own
    ]
    if context.nats_secret is not None:
        mounts.append(nats_credentials(context.nats_secret))
    used = sorted({w.name for w in wanted(context.deployment) if w.used_by == "gateway"})
    mounts += [pod.secret(f"secret-{n}", name, str(ETC / "secrets" / name)) for n, name in enumerate(used)]
    digests = {name: context.secrets.get(name, "") for name in used}
    container = pod.Container(
        name="gateway",
        image=images.gateway or context.images.gateway,
        args=("--settings", str(ETC / "settings" / "gateway.json")),
        command=("python3", "-m", "herald_gateway"),
        ports={"http": GATEWAY_PORT, "health": HEALTH_PORT},
        mounts=mounts,
        probes={
            "startupProbe": pod.http("/healthz/live", "health", period=1, failures=60),
            "readinessProbe": pod.http("/healthz/ready", "health", period=3, failures=2),
            "livenessProbe": pod.http("/healthz/live", "health", period=10, failures=6, timeout=5),
        },
        resources=pod.resources(spec.resources, _RESOURCES),
        lifecycle={"preStop": {"sleep": {"seconds": _LATE_CONNECTIONS}}},
    )
    return pod.template(
        owner,
        COMPONENT,
        container,
        images,
        pull_secrets=context.images.pull_secrets,
        annotations={"herald.dev/settings": digest([rendered, digests, context.restart])},
        grace=_LATE_CONNECTIONS + _DRAIN + 15,
        more=pod.spread(owner, COMPONENT),
    )


def nats_credentials(secret: str) -> pod.Mount:
    """What a client logs in with, and nothing else of that Secret."""
    items = [{"key": key, "path": key} for key in ("user", "password")]
    source: Object = {"secret": {"secretName": secret, "defaultMode": 0o440, "items": items}}
    return pod.Mount("nats", str(ETC / "nats"), source)
