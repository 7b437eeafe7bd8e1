"""What may become of an AgentDeployment that is there already: rules that only the API server can judge."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from tools.gen import crd

from tests.cluster.deployments import Deployments
from tests.resource_documents import GONE, MANAGED, SMALLEST, STATUS, changed


@dataclass(frozen=True, slots=True)
class Change:
    """From the smallest document with `before` in it to the smallest with `after`; `refused` as in Case."""

    name: str
    before: dict[str, Any] = field(hash=False)
    after: dict[str, Any] = field(hash=False)
    refused: str = ""


_FIXED = "a volume keeps its size and class for life"
_SECRET = {"name": "x"}
_SERVERS = {
    "NATS": ("spec.messaging.nats", {"url": "nats://a:4222"}, "messages do not move"),
    "PostgreSQL": ("spec.database", {"secretRef": _SECRET}, "data does not move by itself"),
    "Milvus": ("spec.agent.memory.milvus", {"url": "http://a:1"}, "vectors do not move"),
}


def _volume(path: str, **volume: str) -> dict[str, Any]:
    return {path: {"managed": {"storage": volume}}}


def _about(server: str) -> list[Change]:
    """Unset and set, in every order: leaving a server out means a managed one with 10Gi."""
    path, external, moves = _SERVERS[server]
    parent = path.rpartition(".")[0]
    mine, default, big = {path: {"external": external}}, _volume(path, size="10Gi"), _volume(path, size="20Gi")
    fast = _volume(path, size="10Gi", storageClassName="fast")
    changes = [
        Change("nothing to a larger volume", {}, big, _FIXED),
        Change("a larger volume to nothing", big, {}, _FIXED),
        Change("an empty server to a larger volume", {path: {"managed": {}}}, big, _FIXED),
        Change("a larger volume to another", big, _volume(path, size="30Gi"), _FIXED),
        Change("a larger volume to a smaller", big, default, _FIXED),
        Change("a class comes", default, fast, _FIXED),
        Change("a class comes from nothing", {}, fast, _FIXED),
        Change("a class goes", fast, default, _FIXED),
        Change("a class goes with all", fast, {}, _FIXED),
        Change("another class", fast, _volume(path, size="10Gi", storageClassName="slow"), _FIXED),
        Change("the default said aloud", {}, default),
        Change("the default unsaid", default, {}),
        Change("an empty server", {}, {path: {"managed": {}}}),
        Change("resources", big, {path: {"managed": {**big[path]["managed"], "resources": {"limits": {"cpu": 2}}}}}),
        Change("nothing to my own", {}, mine, moves),
        Change("my own to nothing", mine, {}, moves),
        Change("managed to my own", big, mine, moves),
        Change("my own to managed", mine, default, moves),
        Change("my own stays", mine, {**mine, "spec.suspend": True}),
        Change("a volume stays", big, {**big, "spec.suspend": True}),
    ]
    if parent != "spec":
        changes += [
            Change("its parent goes", big, {parent: {}}, _FIXED),
            Change("its parent comes", {parent: {}}, mine, moves),
        ]
    return [Change(f"{server}: {c.name}", c.before, c.after, c.refused) for c in changes]


def _cached(**volume: Any) -> dict[str, Any]:
    gpu = {"spec.inference.engine": "llmapi", "spec.inference.gpu": {}}
    return gpu | {"spec.inference.cache": volume or GONE}


def _nats(replicas: int) -> dict[str, Any]:
    return {"spec.messaging.nats": {"managed": {"replicas": replicas}}}


def _clustered(**fields: Any) -> dict[str, Any]:
    return {"spec.database": {"cloudNativePG": fields}}


_GROWS = "makes a volume larger, never smaller"
_TEN, _TWENTY, _FAST = {"size": "10Gi"}, {"size": "20Gi"}, {"size": "20Gi", "storageClassName": "fast"}
_MOVES = _SERVERS["PostgreSQL"][2]
_MINE = {"spec.database": {"external": {"secretRef": _SECRET}}}
CLUSTERED = [
    Change("nothing to CloudNativePG", {}, _clustered(), _MOVES),
    Change("CloudNativePG to nothing", _clustered(), {}, _MOVES),
    Change("managed to CloudNativePG", {"spec.database": {"managed": {}}}, _clustered(), _MOVES),
    Change("CloudNativePG to managed", _clustered(storage=_FAST), {"spec.database": {"managed": {}}}, _MOVES),
    Change("my own to CloudNativePG", _MINE, _clustered(), _MOVES),
    Change("CloudNativePG to my own", _clustered(), _MINE, _MOVES),
    Change("more instances", _clustered(instances=1), _clustered(instances=5)),
    Change("fewer instances", _clustered(instances=5), _clustered(instances=1)),
    Change("a larger volume than nothing", _clustered(), _clustered(storage=_TWENTY)),
    Change("a larger volume", _clustered(storage=_TWENTY), _clustered(storage={"size": "1Ti"})),
    Change("the same volume in other words", _clustered(storage=_TWENTY), _clustered(storage={"size": "20480Mi"})),
    Change("the default volume said aloud", _clustered(), _clustered(storage=_TEN)),
    Change("the default volume unsaid", _clustered(storage=_TEN), _clustered()),
    Change("a smaller volume", _clustered(storage=_TWENTY), _clustered(storage={"size": "9000Mi"}), _GROWS),
    Change("a smaller volume than nothing", _clustered(), _clustered(storage={"size": "9Gi"}), _GROWS),
    Change("a smaller volume by saying nothing", _clustered(storage=_TWENTY), _clustered(), _GROWS),
    Change("a class comes", _clustered(storage=_TWENTY), _clustered(storage=_FAST), _GROWS),
    Change("a class goes", _clustered(storage=_FAST), _clustered(storage=_TWENTY), _GROWS),
    Change("a class stays and grows", _clustered(storage=_FAST), _clustered(storage={**_FAST, "size": "30Gi"})),
]
_SMALL, _BIG = {"size": "50Gi"}, {"size": "60Gi"}
_NUMBER = "one NATS server's messages are lost on three"
CHANGES = [
    *(change for server in _SERVERS for change in _about(server)),
    *(Change(f"CloudNativePG: {c.name}", c.before, c.after, c.refused) for c in CLUSTERED),
    Change("fewer NATS servers", _nats(3), _nats(1), _NUMBER),
    Change("fewer NATS servers by saying nothing", _nats(3), {}, _NUMBER),
    Change("more NATS servers", _nats(1), _nats(3), _NUMBER),
    Change("more NATS servers than nothing said", {}, _nats(3), _NUMBER),
    Change("one NATS server said aloud", {}, _nats(1)),
    Change("three NATS servers stay", _nats(3), _nats(3) | {"spec.suspend": True}),
    Change(
        "my NATS moves house", _about("NATS")[18].before, {"spec.messaging.nats": {"external": {"url": "nats://b:1"}}}
    ),
    Change("a larger cache", _cached(volume=_SMALL), _cached(volume=_BIG), _FIXED),
    Change("a cache for many", _cached(volume=_SMALL), _cached(volume=_SMALL, accessMode="ReadWriteMany"), _FIXED),
    Change("the same cache", _cached(volume=_SMALL), _cached(volume=_SMALL, accessMode="ReadWriteOnce")),
    Change("a model of another kind", {}, {"spec.inference.engine": "llmapi", "spec.inference.gpu": {}}),
    Change("another channel", {}, {"spec.channels": [{"name": "b", "web": {}}]}),
    Change("workers by lag at last", {"spec.agent": {"replicas": 3}}, {"spec.agent": {"autoscaling": {"max": 3}}}),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.name)
def test_changes(deployments: Deployments, change: Change) -> None:
    before = {path: value for path, value in change.before.items() if value is not GONE}
    with deployments.existing(changed(SMALLEST, before)):
        said = deployments.refusal_of_change(changed(SMALLEST, change.after))
    assert change.refused in said
    assert bool(change.refused) == bool(said), said


def test_an_error_names_the_server(deployments: Deployments) -> None:
    with deployments.existing(SMALLEST):
        said = deployments.refusal_of_change(changed(SMALLEST, _nats(3) | _volume("spec.database", size="1Gi")))
    assert "spec.database: Invalid value" in said


def test_every_rule_about_change_is_in_the_table() -> None:
    rules: list[str] = []

    def collect(schema: dict[str, Any]) -> None:
        rules.extend(r["message"] for r in schema.get("x-kubernetes-validations", ()) if "oldSelf" in r["rule"])
        for inner in (*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])):
            collect(inner)

    collect(crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    refused = {c.refused for c in CHANGES if c.refused}
    assert len(rules) == 14
    assert [r for r in rules if not any(said in r for said in refused)] == []


def test_a_status_is_written_whatever_stands_in_the_spec(deployments: Deployments) -> None:
    with deployments.existing(MANAGED):
        assert deployments.refusal_of_status("support", STATUS) == ""
