"""What every pod of Herald has in common: it passes Pod Security `restricted` and carries no token. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from herald_contracts.resources.v1alpha1.rollout import Images
from herald_contracts.resources.v1alpha1.schema import Resources
from herald_operator.build.naming import Object, Owner

USER = 65_532  # of Herald's own images


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume and where it is mounted. `source` is the volume's own part, such as {"emptyDir": {}}."""

    name: str
    path: str
    source: Object | None
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class Container:
    """The one container of a pod. A value of `env` that is no string is a `valueFrom`."""

    name: str
    image: str
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    env: Mapping[str, str | Object] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    probes: Mapping[str, Object] = field(default_factory=dict)
    resources: Object = field(default_factory=dict)
    lifecycle: Object | None = None


def secret(name: str, secret_name: str, path: str) -> Mount:
    """All keys of a Secret as files that only the pod's user can read."""
    return Mount(name, path, {"secret": {"secretName": secret_name, "defaultMode": 0o440}})


def config(name: str, config_map: str, path: str) -> Mount:
    return Mount(name, path, {"configMap": {"name": config_map, "defaultMode": 0o444}})


def scratch(name: str, path: str, *, memory: bool = False, size: str = "256Mi") -> Mount:
    """Room to write, gone with the pod."""
    empty: Object = {"sizeLimit": size, **({"medium": "Memory"} if memory else {})}
    return Mount(name, path, {"emptyDir": empty}, read_only=False)


def claim(name: str, claim_name: str, path: str) -> Mount:
    return Mount(name, path, {"persistentVolumeClaim": {"claimName": claim_name}}, read_only=False)


def http(path: str, port: str, *, period: int, failures: int, timeout: int = 3) -> Object:
    """A probe by HTTP; `period` and `timeout` in seconds."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
    }


def tcp(port: str, *, period: int, failures: int) -> Object:
    return {"tcpSocket": {"port": port}, "periodSeconds": period, "failureThreshold": failures, "timeoutSeconds": 3}


def resources(given: Resources | None, default: Object) -> Object:
    """What the person wrote, else the default: never a mixture that nobody asked for."""
    if given is None:
        return default
    written = {"requests": dict(given.requests), "limits": dict(given.limits)}
    return {kind: amounts for kind, amounts in written.items() if amounts}


def template(
    owner: Owner,
    component: str,
    container: Container,
    images: Images,
    *,
    pull_secrets: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    user: int = USER,
    grace: int = 30,
    more: Object | None = None,
) -> Object:
    """A pod template; `grace` is how many seconds it has to leave, `more` goes into the pod's spec as it is."""
    secrets = [*images.pull_secrets, *pull_secrets]
    return {
        "metadata": {
            "labels": {**owner.labels(component), **(labels or {})},
            **({"annotations": dict(annotations)} if annotations else {}),
        },
        "spec": {
            "serviceAccountName": owner.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": grace,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": user,
                "runAsGroup": user,
                "fsGroup": user,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **({"imagePullSecrets": [{"name": name} for name in secrets]} if secrets else {}),
            "containers": [_container(container, images.pull_policy)],
            "volumes": [{"name": m.name, **m.source} for m in container.mounts if m.source is not None],
            **(more or {}),
        },
    }


def _container(container: Container, pull_policy: str) -> Object:
    made: Object = {
        "name": container.name,
        "image": container.image,
        "imagePullPolicy": pull_policy,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": m.name, "mountPath": m.path, **({"readOnly": True} if m.read_only else {})}
            for m in container.mounts
        ],
        "resources": container.resources,
    }
    if container.command:
        made["command"] = list(container.command)
    if container.args:
        made["args"] = list(container.args)
    if container.env:
        made["env"] = [
            {"name": name, "value": value} if isinstance(value, str) else {"name": name, "valueFrom": value}
            for name, value in container.env.items()
        ]
    if container.ports:
        made["ports"] = [
            {"name": name, "containerPort": port, "protocol": "TCP"} for name, port in container.ports.items()
        ]
    if container.lifecycle is not None:
        made["lifecycle"] = container.lifecycle
    return {**made, **container.probes}


def spread(owner: Owner, component: str, **more: str) -> Object:
    """Over nodes where there are several; never a reason not to start."""
    return {
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": owner.selector(component, **more)},
            }
        ]
    }
