"""The PostgreSQL that CloudNativePG runs for a deployment: one Cluster, and where what it makes is found. Pure.

Read of CloudNativePG 1.30 (docs/src, api/v1): a Cluster's name has at most 50 characters; its volumes hang on it and
go with it; it makes the Secret NAME-app, whose `uri` leads to whoever is primary; its pods carry `cnpg.io/cluster`.
"""

from typing import Any

from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.resources.v1alpha1.servers import CloudNativePG
from herald_operator.build import pod
from herald_operator.build.context import POSTGRES_CONNECTIONS, Context
from herald_operator.build.naming import DEPLOYMENT, Object

KIND, API_VERSION = "Cluster", "postgresql.cnpg.io/v1"
COMPONENT = "postgres"
STATUS_PORT, METRICS_PORT = 8000, 9187  # of each instance; by the first one its operator and its peers ask how it is
HIBERNATION = "cnpg.io/hibernation"
# Its operator's pods, wherever they run.
OPERATOR = {"app.kubernetes.io/name": "cloudnative-pg"}
_DATABASE = "herald"
_LOCALE = "C.UTF-8"  # as the managed server has it: texts compare alike wherever they are
_RESOURCES = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}


def wanted(deployment: AgentDeployment) -> CloudNativePG | None:
    """None where the database is another one."""
    return deployment.spec.database.cloud_native_pg


def pods(context: Context, **more: str) -> dict[str, str]:
    """What selects its pods: the instances, and the jobs that make their data folders."""
    return {"cnpg.io/cluster": context.owner.child(COMPONENT), **more}


def objects(context: Context, *, stopped: bool = False) -> tuple[Object, ...]:
    """The Cluster; nothing where the database is another one.

    With `deletionPolicy: Retain` nobody owns it: its volumes hang on it, and would go with it.
    """
    server, owner = wanted(context.deployment), context.owner
    if server is None:
        return ()
    return (
        owner.object(
            KIND,
            API_VERSION,
            owner.child(COMPONENT),
            COMPONENT,
            {"spec": _spec(context, server)},
            annotations={HIBERNATION: "on"} if stopped else None,
            owned=context.deployment.spec.deletion_policy == "Delete",
        ),
    )


def _spec(context: Context, server: CloudNativePG) -> Object:
    images = context.deployment.spec.images
    pulled_with = [*images.pull_secrets, *context.images.pull_secrets]
    volume = server.storage
    made: Object = {
        "instances": server.instances,
        "storage": {
            "size": volume.size,
            **({"storageClass": volume.storage_class_name} if volume.storage_class_name else {}),
        },
        "bootstrap": {
            "initdb": {
                "database": _DATABASE,
                "owner": _DATABASE,
                "encoding": "UTF8",
                "localeCollate": _LOCALE,
                "localeCType": _LOCALE,
            }
        },
        "enableSuperuserAccess": False,
        "postgresql": _postgresql(server),
        "resources": pod.resources(server.resources, _RESOURCES),
        # By which all that it makes is found. No other label of ours: an Application would claim it by those.
        "inheritedMetadata": {"labels": {DEPLOYMENT: context.owner.name}},
    }
    # Its image is one that CloudNativePG knows how to run, and so its own choice where nobody makes another.
    if images.postgres is not None:
        made["imageName"] = images.postgres
    if pulled_with:
        made["imagePullSecrets"] = [{"name": name} for name in pulled_with]
    return {**made, "imagePullPolicy": images.pull_policy}


def _postgresql(server: CloudNativePG) -> dict[str, Any]:
    made: dict[str, Any] = {"parameters": {"max_connections": str(POSTGRES_CONNECTIONS), "jit": "off"}}
    if server.instances > 1:
        # A turn that is said to be kept is kept by two, and nobody takes over without knowing that he has it: otherwise
        # a failover would forget replies that were sent, and they would be sent again (docs/adr/0011).
        made["synchronous"] = {"method": "any", "number": 1, "dataDurability": "required", "failoverQuorum": True}
    return made
