"""The managed Milvus: one standalone server with everything inside it. Pure.

The image's contract is that of docker.io/milvusdb/milvus run as its own standalone script runs it (embedded etcd,
local storage): https://milvus.io/docs/install_standalone-docker.md.
"""

from herald_contracts.resources.v1alpha1.servers import ManagedMilvus
from herald_operator.build import nats, pod
from herald_operator.build.context import MILVUS_PORT, Context
from herald_operator.build.naming import Object

COMPONENT = "milvus"
_HEALTH = 9091
_DATA = "/var/lib/milvus"
_RESOURCES = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}}


def managed(context: Context) -> ManagedMilvus | None:
    """None where memory is off or the person brings their own."""
    memory = context.deployment.spec.agent.memory
    if not memory.enabled or memory.milvus.external is not None:
        return None
    return memory.milvus.managed or ManagedMilvus()


def objects(context: Context, *, replicas: int = 1) -> tuple[Object, ...]:
    """Everything of the managed server; nothing where there is none. `replicas` 0 stops it."""
    server = managed(context)
    if server is None:
        return ()
    owner, name = context.owner, context.owner.child("milvus")
    selector = owner.selector(COMPONENT)
    ports = [{"name": "milvus", "port": MILVUS_PORT, "targetPort": "milvus", "protocol": "TCP"}]
    return (
        owner.object("Service", "v1", name, COMPONENT, {"spec": {"selector": selector, "ports": ports}}),
        owner.object(
            "StatefulSet",
            "apps/v1",
            name,
            COMPONENT,
            {
                "spec": {
                    "replicas": replicas,
                    "serviceName": name,
                    "selector": {"matchLabels": selector},
                    "persistentVolumeClaimRetentionPolicy": nats.retention(context),
                    "template": _template(context, server),
                    "volumeClaimTemplates": [nats.claim_template(context, COMPONENT, server.storage)],
                }
            },
        ),
    )


def _template(context: Context, server: ManagedMilvus) -> Object:
    images, owner = context.deployment.spec.images, context.owner
    container = pod.Container(
        name="milvus",
        image=images.milvus or context.images.milvus,
        command=("milvus", "run", "standalone"),
        env={
            "DEPLOY_MODE": "STANDALONE",
            "ETCD_USE_EMBED": "true",
            "ETCD_DATA_DIR": f"{_DATA}/etcd",
            "COMMON_STORAGETYPE": "local",
        },
        ports={"milvus": MILVUS_PORT, "health": _HEALTH},
        mounts=(pod.Mount("data", _DATA, None, read_only=False), pod.scratch("tmp", "/tmp")),  # noqa: S108
        probes={
            "startupProbe": pod.http("/healthz", "health", period=3, failures=200),
            "readinessProbe": pod.http("/healthz", "health", period=5, failures=3),
            "livenessProbe": pod.http("/healthz", "health", period=30, failures=5, timeout=10),
        },
        resources=pod.resources(server.resources, _RESOURCES),
    )
    return pod.template(
        owner, COMPONENT, container, images, pull_secrets=context.images.pull_secrets, user=1000, grace=60
    )
