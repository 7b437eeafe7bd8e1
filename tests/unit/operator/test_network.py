"""Who may talk to whom, asked of the rendered policies as a network plugin would: both ends must agree."""

from functools import cache
from ipaddress import ip_address, ip_network

import pytest

from herald_operator.build.naming import Object
from tests.resource_documents import changed
from tests.unit.operator.specs import ALL, imagined

OUTSIDE = "203.0.113.7"
METADATA = "169.254.169.254"
PODS: dict[str, dict[str, str]] = {
    "operator": {"app.kubernetes.io/name": "herald-operator"},
    "keda": {"app": "keda-operator"},
    "stranger": {"app": "stranger"},
    "cloudnativepg": {"app.kubernetes.io/name": "cloudnative-pg"},
}
# Beside the deployment: an instance, and the job that makes another one's data folder.
_THEIRS = {"app.kubernetes.io/name": "postgresql", "app.kubernetes.io/instance": "support-postgres"}
CLOUDNATIVEPG: dict[str, dict[str, str]] = {
    "instance": {**_THEIRS, "cnpg.io/cluster": "support-postgres", "cnpg.io/podRole": "instance"},
    "join": {**_THEIRS, "cnpg.io/cluster": "support-postgres", "cnpg.io/jobRole": "join"},
    "other": {**_THEIRS, "cnpg.io/cluster": "sales-postgres", "cnpg.io/podRole": "instance"},
}


@cache
def labels(name: str) -> dict[str, dict[str, str]]:
    """Of one pod of each component. The migration's is of a Job that is done, and whose policy must stand anyway."""
    world = imagined(ALL[name])
    made = [b for b in world.children.values() if "template" in (b.get("spec") or {})]
    pods = [b["spec"]["template"]["metadata"]["labels"] for b in made]
    return {**{p["app.kubernetes.io/component"]: p for p in pods}, **CLOUDNATIVEPG, **PODS}


@cache
def policies(name: str) -> tuple[Object, ...]:
    return tuple(imagined(ALL[name]).of("NetworkPolicy"))


def _selects(selector: Object, pod: dict[str, str]) -> bool:
    return bool(selector.get("matchLabels", {}).items() <= pod.items())


def _peer(peer: Object, name: str, other: str, inside: bool) -> bool:
    if "ipBlock" in peer:
        # Some plugins take a pod's address for one in the block; Cilium does not, so nothing may rest on it.
        if not other[0].isdigit():
            return False
        block, address = peer["ipBlock"], ip_address(other)
        network = ip_network(block["cidr"])
        if address.version != network.version:
            return False
        return address in network and not any(address in ip_network(e) for e in block["except"])
    if other[0].isdigit() or (not inside and "namespaceSelector" not in peer):
        return False
    return "podSelector" not in peer or _selects(peer["podSelector"], labels(name)[other])


def _allows(name: str, way: str, pod: str, other: str, port: int, protocol: str) -> bool:
    """One end. A pod that no policy selects lets everything through."""
    if pod[0].isdigit() or pod in PODS:
        return True
    inside = other not in PODS
    mine = [p["spec"] for p in policies(name) if _selects(p["spec"]["podSelector"], labels(name)[pod])]
    assert len(mine) == (1 if pod in CLOUDNATIVEPG else 2), "the one that closes everything, and its own"
    if way.title() not in mine[0]["policyTypes"]:
        return True
    side = "to" if way == "egress" else "from"
    return any(
        ("ports" not in rule or any((p["port"], p["protocol"]) == (port, protocol) for p in rule["ports"]))
        and (side not in rule or any(_peer(peer, name, other, inside) for peer in rule[side]))
        for spec in mine
        for rule in spec.get(way, ())
    )


def may(name: str, one: str, other: str, port: int, protocol: str = "TCP") -> bool:
    return _allows(name, "egress", one, other, port, protocol) and _allows(name, "ingress", other, one, port, protocol)


@pytest.mark.parametrize(
    ("name", "one", "other", "port"),
    [
        # The way of a message on a cluster of its own.
        ("quickstart", OUTSIDE, "gateway", 8080),
        ("quickstart", "gateway", "nats", 4222),
        ("quickstart", "agent", "nats", 4222),
        ("quickstart", "agent", "postgres", 5432),
        ("quickstart", "agent", "milvus", 19530),
        ("quickstart", "agent", "inference", 8001),
        ("quickstart", "migration", "postgres", 5432),
        ("quickstart", "operator", "nats", 4222),
        ("quickstart", "gateway", OUTSIDE, 443),
        ("managed", "nats", "nats", 6222),
        # With what a person brings.
        ("production", "agent", OUTSIDE, 5432),
        ("production", "agent", OUTSIDE, 19530),
        ("production", "migration", OUTSIDE, 6543),
        ("production", "inference", OUTSIDE, 443),
        ("openai", "agent", OUTSIDE, 443),
        ("openai", "agent", OUTSIDE, 4222),
        ("openai", "gateway", OUTSIDE, 4222),
        # The same in the cluster, in a namespace of its own: a bot's receiver, a database, a model, a NATS.
        ("quickstart", "gateway", "stranger", 443),
        ("production", "agent", "stranger", 5432),
        ("production", "agent", "stranger", 19530),
        ("production", "migration", "stranger", 6543),
        ("openai", "agent", "stranger", 443),
        ("openai", "gateway", "stranger", 4222),
        # With what CloudNativePG runs.
        ("failover", "agent", "instance", 5432),
        ("failover", "migration", "instance", 5432),
        ("failover", "keda", "instance", 5432),
        ("failover", "instance", "instance", 5432),
        ("failover", "instance", "instance", 8000),
        ("failover", "join", "instance", 5432),
        ("failover", "cloudnativepg", "instance", 8000),
        ("failover", "cloudnativepg", "instance", 5432),
        ("failover", "instance", "10.96.0.1", 443),
        # Those who watch.
        ("failover", "stranger", "instance", 9187),
        ("quickstart", "stranger", "gateway", 9090),
        ("quickstart", "stranger", "agent", 9090),
        ("quickstart", "stranger", "inference", 8002),
    ],
)
def test_a_step_is_open_at_both_ends(name: str, one: str, other: str, port: int) -> None:
    assert may(name, one, other, port)


@pytest.mark.parametrize(
    ("name", "one", "other", "port"),
    [
        ("quickstart", "gateway", "postgres", 5432),
        ("quickstart", "gateway", "milvus", 19530),
        ("quickstart", "gateway", "inference", 8001),
        ("quickstart", "agent", "gateway", 8080 + 1),
        ("quickstart", "agent", OUTSIDE, 443),
        ("quickstart", "gateway", "stranger", 8080),
        ("quickstart", "agent", "stranger", 5432),
        ("quickstart", "agent", "nats", 6222),
        ("quickstart", "agent", "inference", 8000),
        ("quickstart", "migration", "nats", 4222),
        ("quickstart", "migration", OUTSIDE, 443),
        ("quickstart", "postgres", OUTSIDE, 443),
        ("quickstart", "milvus", OUTSIDE, 443),
        ("quickstart", "nats", OUTSIDE, 443),
        ("quickstart", "inference", OUTSIDE, 443),
        ("quickstart", "inference", "postgres", 5432),
        ("quickstart", "keda", "postgres", 5432),
        ("quickstart", "stranger", "nats", 4222),
        ("quickstart", "stranger", "postgres", 5432),
        ("quickstart", "stranger", "inference", 8001),
        ("quickstart", OUTSIDE, "agent", 8080),
        ("quickstart", OUTSIDE, "nats", 4222),
        ("quickstart", "operator", "postgres", 5432),
        ("failover", "gateway", "instance", 5432),
        ("failover", "inference", "instance", 5432),
        ("failover", "agent", "instance", 8000),
        ("failover", "keda", "instance", 8000),
        ("failover", "stranger", "instance", 5432),
        ("failover", "stranger", "instance", 8000),
        ("failover", "operator", "instance", 5432),
        ("failover", OUTSIDE, "instance", 5432),
        ("failover", "agent", OUTSIDE, 5432),
        # Where clouds keep their credentials.
        ("quickstart", "gateway", METADATA, 443),
        ("production", "agent", METADATA, 80),
        ("production", "inference", METADATA, 443),
    ],
)
def test_everything_else_is_closed(name: str, one: str, other: str, port: int) -> None:
    assert not may(name, one, other, port)


@pytest.mark.parametrize(("name", "who"), [("quickstart", "gateway"), ("quickstart", "agent"), ("openai", "agent")])
def test_names_can_be_resolved(name: str, who: str) -> None:
    assert may(name, who, "10.96.0.10", 53, "UDP")


def test_keda_may_ask_the_managed_database_where_it_scales() -> None:
    world = imagined(changed(ALL["quickstart"], {"spec.agent": {"autoscaling": {"max": 3}}}))
    policy = world.children["NetworkPolicy", "support-postgres"]
    peers = policy["spec"]["ingress"][0]["from"]
    assert {"matchLabels": PODS["keda"]} in [p.get("podSelector") for p in peers]


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("nats://a.example.com:4000", 4000),
        ("nats://a.example.com", 4222),
        ("tls://[2001:db8::1]:4001", 4001),
        ("tls://[2001:db8::1]", 4222),
        # The models take it, and Python's own parser raises.
        ("nats://[3]:4002", 4002),
    ],
)
def test_the_way_out_is_to_the_port_of_the_url(url: str, port: int) -> None:
    world = imagined(changed(ALL["external"], {"spec.messaging.nats.external.url": url}))
    ways = next(b for b in world.of("NetworkPolicy", "agent"))["spec"]["egress"]
    assert port in [p["port"] for way in ways for p in way.get("ports", ())]
