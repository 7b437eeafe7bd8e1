"""Who may talk to whom: nobody, but for the steps that a message goes. Pure.

A network plugin must enforce it. Link-local addresses, where clouds keep their credentials, are closed to all.
"""

import re
from collections.abc import Sequence

from herald_contracts.resources.v1alpha1.inference import Inference
from herald_operator.build import cloudnativepg, gateway, inference, migration, milvus, nats, postgres, workers
from herald_operator.build.context import (
    GATEWAY_PORT,
    HEALTH_PORT,
    MILVUS_PORT,
    NATS_PORT,
    POSTGRES_PORT,
    TRITON_GRPC,
    TRITON_METRICS,
    Context,
)
from herald_operator.build.naming import Object
from herald_operator.build.shape import Shape

_ANYWHERE_INSIDE: Object = {"namespaceSelector": {}}
_WORLD = [
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}},
]
# Where an address that a person wrote may lead. For some network plugins (Cilium) no ipBlock ever means a pod.
_ANYWHERE = [_ANYWHERE_INSIDE, *_WORLD]
_OPERATOR = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "herald-operator"}}}
_KEDA = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "keda-operator"}}}
_DNS = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
_DEFAULT_PORTS = {"https": 443, "http": 80, "nats": NATS_PORT, "tls": NATS_PORT}


def objects(context: Context, running: Sequence[Shape] = ()) -> tuple[Object, ...]:
    """One policy that closes everything, and one for each component that opens what it needs.

    `running` revisions keep their ways for as long as they run, though the spec has another model by now.
    """
    owner, spec = context.owner, context.deployment.spec
    models = [spec.inference, *(kept.inference for kept in running)]
    everything = {
        "podSelector": {"matchLabels": {"app.kubernetes.io/instance": owner.name, "app.kubernetes.io/name": "herald"}},
        "policyTypes": ["Ingress", "Egress"],
        # Said aloud, so that what somebody adds there is ours to take away.
        "ingress": [],
        "egress": [],
    }
    made = [
        owner.object("NetworkPolicy", "networking.k8s.io/v1", owner.child("closed"), "network", {"spec": everything})
    ]
    agent, migrate = _pods(context, workers.COMPONENT), _pods(context, migration.COMPONENT)
    scraped = _in([_ANYWHERE_INSIDE], HEALTH_PORT)
    external_nats, database = spec.messaging.nats.external, spec.database.external
    to_nats = (
        _out(_ANYWHERE, _port_of(external_nats.url))
        if external_nats is not None
        else _out([_pods(context, nats.COMPONENT)], NATS_PORT)
    )
    at_database = _pods(context, postgres.COMPONENT)
    if spec.database.cloud_native_pg is not None:
        at_database = {"podSelector": {"matchLabels": cloudnativepg.pods(context)}}
    # An external database says where it is in a Secret only: any port.
    to_database = {"to": _ANYWHERE} if database is not None else _out([at_database], POSTGRES_PORT)
    made.append(
        _policy(
            context,
            gateway.COMPONENT,
            [_in(None, GATEWAY_PORT), scraped],
            [_DNS, to_nats, _out(_ANYWHERE, *_platform_ports(context))],
        )
    )
    made.append(_policy(context, workers.COMPONENT, [scraped], [_DNS, to_nats, to_database, *_models(context, models)]))
    made.append(_policy(context, migration.COMPONENT, [], [_DNS, to_database]))
    made.append(
        _policy(
            context,
            inference.COMPONENT,
            [_in([agent], TRITON_GRPC), _in([_ANYWHERE_INSIDE], TRITON_METRICS)],
            # A model may have to be downloaded.
            [_DNS, _out(_WORLD, 443)] if any(m.gpu is not None for m in models) else [],
        )
    )
    if nats.managed(context) is not None:
        peers = _pods(context, nats.COMPONENT)
        clients = [_pods(context, gateway.COMPONENT), agent, _OPERATOR]
        made.append(
            _policy(context, nats.COMPONENT, [_in(clients, NATS_PORT), _in([peers], 6222)], [_DNS, _out([peers], 6222)])
        )
    clients = [agent, migrate, *([_KEDA] if spec.agent.autoscaling is not None else [])]
    if postgres.managed(context) is not None:
        made.append(_policy(context, postgres.COMPONENT, [_in(clients, POSTGRES_PORT)], []))
    if spec.database.cloud_native_pg is not None:
        made.append(_of_cloudnativepg(context, clients))
    if milvus.managed(context) is not None:
        made.append(_policy(context, milvus.COMPONENT, [_in([agent], MILVUS_PORT)], []))
    return tuple(made)


def _models(context: Context, models: Sequence[Inference]) -> list[Object]:
    spec = context.deployment.spec
    ways = [_out([_pods(context, inference.COMPONENT)], TRITON_GRPC)]
    ways += [_out(_ANYWHERE, port) for port in sorted({_port_of(m.openai.base_url) for m in models if m.openai})]
    external = spec.agent.memory.milvus.external
    if external is not None:
        ways.append(_out(_ANYWHERE, _port_of(external.url)))
    elif milvus.managed(context) is not None:
        ways.append(_out([_pods(context, milvus.COMPONENT)], MILVUS_PORT))
    return ways


def _platform_ports(context: Context) -> list[int]:
    ports = {443}
    for channel in context.deployment.spec.channels:
        for kind in (channel.hmac, channel.standard_webhooks):
            if kind is not None:
                ports.add(_port_of(kind.reply_url))
        if channel.feishu is not None:
            ports.add(_port_of(channel.feishu.base_url))
    return sorted(ports)


def _port_of(url: str) -> int:
    # Not urlsplit, which also judges what stands between brackets, and raises.
    scheme, _, rest = url.partition("://")
    port = re.match(r"(?:\[[^]]*\]|[^:/?#]*):([0-9]+)", rest)
    return int(port[1]) if port is not None else _DEFAULT_PORTS.get(scheme, 443)


def _policy(context: Context, component: str, ingress: list[Object], egress: list[Object]) -> Object:
    owner = context.owner
    spec = {
        "podSelector": {"matchLabels": owner.selector(component)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }
    return owner.object("NetworkPolicy", "networking.k8s.io/v1", owner.child(component), component, {"spec": spec})


def _of_cloudnativepg(context: Context, clients: list[Object]) -> Object:
    """Who may reach its pods, which are not ours: they carry no label that the policy that closes everything knows.

    Where they go is left open: each talks to the API server, whose address no selector names.
    """
    owner = context.owner
    peers = {"podSelector": {"matchLabels": cloudnativepg.pods(context)}}
    manager = {"namespaceSelector": {}, "podSelector": {"matchLabels": cloudnativepg.OPERATOR}}
    spec = {
        "podSelector": {"matchLabels": cloudnativepg.pods(context)},
        "policyTypes": ["Ingress"],
        "ingress": [
            _in([*clients, peers, manager], POSTGRES_PORT),
            _in([peers, manager], cloudnativepg.STATUS_PORT),
            _in([_ANYWHERE_INSIDE], cloudnativepg.METRICS_PORT),
        ],
    }
    name = owner.child(cloudnativepg.COMPONENT)
    return owner.object("NetworkPolicy", "networking.k8s.io/v1", name, cloudnativepg.COMPONENT, {"spec": spec})


def _pods(context: Context, component: str) -> Object:
    return {"podSelector": {"matchLabels": context.owner.selector(component)}}


def _in(peers: list[Object] | None, port: int) -> Object:
    ports = [{"protocol": "TCP", "port": port}]
    return {"ports": ports, **({"from": peers} if peers is not None else {})}


def _out(peers: list[Object], *ports: int) -> Object:
    return {"to": peers, "ports": [{"protocol": "TCP", "port": port} for port in ports]}
