"""The managed NATS: one server, or three that keep every message three times. Pure.

`sync_interval: always` because an acknowledged message must survive a power cut (nats.io, "JetStream: sync_interval").
Probes and the budget follow the NATS project's own chart (nats-io/k8s, chart 2.14).
"""

from herald_contracts.resources.v1alpha1.schema import in_bytes
from herald_contracts.resources.v1alpha1.servers import ManagedNats, Volume
from herald_contracts.streams import MAX_PAYLOAD, Topology, topology
from herald_contracts.subjects import Names
from herald_operator.build import pod
from herald_operator.build.context import NATS_PORT, Context
from herald_operator.build.naming import Object, digest

COMPONENT = "nats"
_MONITOR, _ROUTES = 8222, 6222
_CONFIG, _DATA = "/etc/nats-config", "/data"
# Of the volume: the rest is the file system's own, and room for what is not one of our streams.
_SHARE = 0.85
_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
ACCOUNT = "herald"


def managed(context: Context) -> ManagedNats | None:
    """None where the person brings their own."""
    nats = context.deployment.spec.messaging.nats
    return None if nats.external is not None else nats.managed or ManagedNats()


def storage(context: Context) -> int:
    """Bytes that the streams may hold, all together."""
    external = context.deployment.spec.messaging.nats.external
    if external is not None:
        return in_bytes(external.storage)
    server = managed(context) or ManagedNats()
    return int(in_bytes(server.storage.size) * _SHARE)


def copies(context: Context) -> int:
    """How many servers keep each message."""
    external = context.deployment.spec.messaging.nats.external
    return external.replicas if external is not None else (managed(context) or ManagedNats()).replicas


def streams(context: Context) -> Topology:
    """What NATS should hold for this deployment."""
    metadata = context.deployment.metadata
    pages = tuple(c.name for c in context.deployment.spec.channels if c.web is not None)
    return topology(
        Names(metadata.namespace, metadata.name),
        web_channels=pages,
        replicas=copies(context),
        storage=storage(context),
    )


def objects(context: Context, *, replicas: int | None = None) -> tuple[Object, ...]:
    """Everything of the managed server but its Secret; nothing where it is external. `replicas` 0 stops it."""
    server = managed(context)
    if server is None:
        return ()
    owner, name = context.owner, context.owner.child("nats")
    conf = _conf(context, server)
    selector = owner.selector(COMPONENT)
    made = [
        owner.object("ConfigMap", "v1", name, COMPONENT, {"data": {"nats.conf": conf}}),
        owner.object(
            "Service", "v1", name, COMPONENT, {"spec": {"selector": selector, "ports": [_port("nats", NATS_PORT)]}}
        ),
        owner.object(
            "Service",
            "v1",
            f"{name}-peers",
            COMPONENT,
            {
                "spec": {
                    "clusterIP": "None",
                    "publishNotReadyAddresses": True,
                    "selector": selector,
                    "ports": [_port("nats", NATS_PORT), _port("routes", _ROUTES), _port("monitor", _MONITOR)],
                }
            },
        ),
        owner.object(
            "StatefulSet",
            "apps/v1",
            name,
            COMPONENT,
            {
                "spec": {
                    "replicas": server.replicas if replicas is None else replicas,
                    "serviceName": f"{name}-peers",
                    "podManagementPolicy": "Parallel",
                    "selector": {"matchLabels": selector},
                    "persistentVolumeClaimRetentionPolicy": retention(context),
                    "template": _template(context, server, conf),
                    "volumeClaimTemplates": [claim_template(context, COMPONENT, server.storage)],
                }
            },
        ),
    ]
    if server.replicas > 1:
        budget = {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}}}
        made.append(owner.object("PodDisruptionBudget", "policy/v1", name, COMPONENT, budget))
    return tuple(made)


def credentials(context: Context, password: str) -> dict[str, str]:
    """The keys of the managed server's Secret: what clients log in with, and the part of the server's file."""
    server = managed(context) or ManagedNats()
    lines = [f'authorization {{ user: {ACCOUNT}, password: "{password}" }}']
    if server.replicas > 1:
        name = context.owner.child("nats")
        peers = [f"{name}-{n}.{name}-peers.{context.owner.namespace}.svc:{_ROUTES}" for n in range(server.replicas)]
        routes = ", ".join(f'"nats-route://{ACCOUNT}:{password}@{peer}"' for peer in peers)
        lines.append(
            f"cluster {{ name: {name}, port: {_ROUTES}, routes: [{routes}], "
            f'authorization {{ user: {ACCOUNT}, password: "{password}" }} }}'
        )
    return {"user": ACCOUNT, "password": password, "access.conf": "\n".join(lines) + "\n"}


def retention(context: Context) -> Object:
    """What becomes of a StatefulSet's volumes: Kubernetes itself sees to it."""
    return {"whenDeleted": context.deployment.spec.deletion_policy, "whenScaled": "Retain"}


def claim_template(context: Context, component: str, volume: Volume) -> Object:
    """The one volume of a server, called `data`."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "labels": context.owner.selector(component)},
        "spec": claim_spec(volume),
    }


def claim_spec(volume: Volume, access: str = "ReadWriteOnce") -> Object:
    return {
        "accessModes": [access],
        "resources": {"requests": {"storage": volume.size}},
        **({"storageClassName": volume.storage_class_name} if volume.storage_class_name else {}),
    }


def _template(context: Context, server: ManagedNats, conf: str) -> Object:
    images, owner = context.deployment.spec.images, context.owner
    config: Object = {
        "projected": {
            "defaultMode": 0o440,
            "sources": [
                {"configMap": {"name": owner.child("nats"), "items": [{"key": "nats.conf", "path": "nats.conf"}]}},
                {"secret": {"name": owner.child("nats"), "items": [{"key": "access.conf", "path": "access.conf"}]}},
            ],
        }
    }
    container = pod.Container(
        name="nats",
        image=images.nats or context.images.nats,
        command=("nats-server", "--config", f"{_CONFIG}/nats.conf"),
        env={"POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ports={"nats": NATS_PORT, "routes": _ROUTES, "monitor": _MONITOR},
        mounts=(
            pod.Mount("config", _CONFIG, config),
            pod.Mount("data", _DATA, None, read_only=False),
            pod.scratch("tmp", "/tmp"),  # noqa: S108 - a volume of the pod's own
        ),
        probes={
            "startupProbe": pod.http("/healthz?js-server-only=true", "monitor", period=2, failures=300),
            "readinessProbe": pod.http("/healthz?js-server-only=true", "monitor", period=5, failures=3),
            "livenessProbe": pod.http("/healthz?js-enabled-only=true", "monitor", period=30, failures=3),
        },
        resources=pod.resources(server.resources, _RESOURCES),
    )
    return pod.template(
        owner,
        COMPONENT,
        container,
        images,
        pull_secrets=context.images.pull_secrets,
        # A server reads its file at the start only.
        annotations={"herald.dev/config": digest(conf)},
        user=1000,
        grace=60,
        more=pod.spread(owner, COMPONENT),
    )


def _conf(context: Context, server: ManagedNats) -> str:
    return f"""\
# Rendered by Herald's operator; changes here are undone.
server_name: $POD_NAME
port: {NATS_PORT}
http_port: {_MONITOR}
max_payload: {MAX_PAYLOAD}
jetstream {{
  store_dir: {_DATA}/jetstream
  sync_interval: always
  max_memory_store: {64 * 2**20}
  max_file_store: {int(in_bytes(server.storage.size) * (_SHARE + 0.05))}
}}
# In a file of its own, from a Secret.
include access.conf
"""


def _port(name: str, number: int) -> Object:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP"}
