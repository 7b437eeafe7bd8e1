"""The managed PostgreSQL: one server, for trying out and for teams that can wait for a restart. Pure.

The image's contract is that of docker.io/library/postgres: it makes its data folder at the first start from
POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD_FILE, and takes the server's options as arguments.
"""

from herald_contracts.resources.v1alpha1.servers import ManagedPostgres
from herald_operator.build import nats, pod
from herald_operator.build.context import POSTGRES_CONNECTIONS, POSTGRES_PORT, Context
from herald_operator.build.naming import Object

COMPONENT = "postgres"
ACCOUNT = DATABASE = "herald"
_USER = 999
_DATA = "/var/lib/postgresql/data"
_RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
_OPTIONS = {
    "max_connections": str(POSTGRES_CONNECTIONS),
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    # A pod's /dev/shm is small.
    "dynamic_shared_memory_type": "mmap",
}


def managed(context: Context) -> ManagedPostgres | None:
    """None where the person brings their own, or CloudNativePG runs it."""
    database = context.deployment.spec.database
    elsewhere = database.external is not None or database.cloud_native_pg is not None
    return None if elsewhere else database.managed or ManagedPostgres()


def objects(context: Context, *, replicas: int = 1) -> tuple[Object, ...]:
    """Everything of the managed server but its Secret; nothing where it is external. `replicas` 0 stops it."""
    server = managed(context)
    if server is None:
        return ()
    owner, name = context.owner, context.owner.child("postgres")
    selector = owner.selector(COMPONENT)
    ports = [{"name": "postgres", "port": POSTGRES_PORT, "targetPort": "postgres", "protocol": "TCP"}]
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


def credentials(context: Context, password: str) -> dict[str, str]:
    """The keys of the managed server's Secret."""
    host = context.host("postgres")
    return {"password": password, "dsn": f"postgresql://{ACCOUNT}:{password}@{host}:{POSTGRES_PORT}/{DATABASE}"}


def _template(context: Context, server: ManagedPostgres) -> Object:
    images, owner = context.deployment.spec.images, context.owner
    container = pod.Container(
        name="postgres",
        image=images.postgres or context.images.postgres,
        args=("postgres", *(part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}"))),
        env={
            "POSTGRES_USER": ACCOUNT,
            "POSTGRES_DB": DATABASE,
            "POSTGRES_PASSWORD_FILE": "/etc/herald/postgres/password",
            "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256 --locale=C.UTF-8",
            "PGDATA": f"{_DATA}/pgdata",
        },
        ports={"postgres": POSTGRES_PORT},
        mounts=(
            pod.Mount("data", _DATA, None, read_only=False),
            pod.secret("credentials", owner.child("postgres"), "/etc/herald/postgres"),
            pod.scratch("run", "/var/run/postgresql"),
            pod.scratch("tmp", "/tmp"),  # noqa: S108 - a volume of the pod's own
        ),
        # The first start makes the data folder with a server that listens on no network, so a port that is open
        # is the server that stays.
        probes={
            "startupProbe": pod.tcp("postgres", period=2, failures=300),
            "readinessProbe": pod.tcp("postgres", period=5, failures=3),
            "livenessProbe": pod.tcp("postgres", period=20, failures=6),
        },
        resources=pod.resources(server.resources, _RESOURCES),
    )
    return pod.template(
        owner,
        COMPONENT,
        container,
        images,
        pull_secrets=context.images.pull_secrets,
        user=_USER,
        grace=60,
    )
