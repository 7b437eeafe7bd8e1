"""P13 and the operator's part of P12: 200 deployments on a real API server, with pods that only claim to run.

Children of all 200 are made, switched to another revision and left alone. What the operator wrote is its own count
(/metrics). The anchor is a bare client, eight at a time as the operator's workers, that writes the same objects in
another namespace once the operator has ended, and Events for the rest of the writes, until the pods are Ready there.
"""

import base64
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from tools.cluster import Cluster, start

from benchmarks import bare_writes, servers
from benchmarks.figures import Figure
from benchmarks.goals import Finding, Measured, Table
from benchmarks.plan import Plan
from benchmarks.probing import get, status
from benchmarks.processes import Child, Failed
from herald_cli.ports import Ports

DEPLOYMENTS = 200
NAMESPACE = "bench"
AT_REST = 60.0  # seconds
_SETTLE = 600.0
_WRITERS = 8
_AS_IN_ITS_IMAGE = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "1"}
_WRITES = re.compile(rb"^herald_operator_writes_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
# What a change of the instructions alone has to touch: a revision, its settings and its ReplicaSet come, the settings
# and the ReplicaSet of the old one go, and the resource's status says so.
_TOUCHED = 6
Object = dict[str, Any]


def measure(plan: Plan, wanted: frozenset[str]) -> Measured:
    """Everything of one cluster; only what belongs to `wanted` goals is handed back."""
    folder, count = plan.folder("operator"), plan.count(DEPLOYMENTS)
    plan.say("P13: a cluster with pretended nodes ...")
    cluster = start(folder / "cluster", node="fake", say=plan.say)
    try:
        nats = servers.start_nats(folder / "nats", sync="2m")
        try:
            return _measure(plan, cluster, nats, folder, count, wanted)
        finally:
            nats.child.stop()
    finally:
        cluster.stop()


def _measure(
    plan: Plan, cluster: Cluster, nats: servers.NatsServer, folder: Path, count: int, wanted: frozenset[str]
) -> Measured:
    cluster.kubectl("apply", "--server-side", "-f", str(Path(__file__).parents[2] / "crds"))
    cluster.wait_established("agentdeployments.herald.dev")
    cluster.kubectl("create", "namespace", NAMESPACE)
    _apply(cluster, _secrets(nats))
    ports = Ports()
    health, metrics = ports.pick(), ports.pick()
    argv = [sys.executable, "-m", "herald_operator", "--host", "127.0.0.1", "--lease-namespace", NAMESPACE]
    argv += ["--health-port", str(health), "--metrics-port", str(metrics), "--log-level", "warning"]
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), **_AS_IN_ITS_IMAGE}
    with Child("operator", argv, log=folder / "operator.log", env=environment) as operator:
        ready = operator.wait_until(lambda: b"leading" in (get(health, "/healthz/ready") or (0, b""))[1])
        if status(metrics, "/metrics") != 200:
            raise Failed("the operator has no metrics")
        begun = time.monotonic()
        _apply(cluster, [_deployment(n, nats, "You answer.") for n in range(count)])
        created = _settled(plan, cluster, count, "", begun)
        time.sleep(plan.seconds(15))  # the last status and the proof of the first revisions
        writes, children = _writes(metrics), bare_writes.children(cluster, NAMESPACE)
        plan.say(f"P13: {count} created in {created:.1f} s with {writes} writes, {len(children)} of them objects")
        before, begun = _writes(metrics), time.monotonic()
        _apply(cluster, [_deployment(n, nats, "You answer in verse.") for n in range(count)])
        switched = _settled(plan, cluster, count, "You answer in verse.", begun)
        time.sleep(plan.seconds(30))  # the old workers leave after their delay
        change = (_writes(metrics) - before) / count
        plan.say(f"P13: all switched in {switched:.1f} s, {change:.1f} writes each")
        before = _writes(metrics)
        time.sleep(plan.seconds(AT_REST))
        rest = _writes(metrics) - before
        resident = operator.resident_bytes() / 1e6
        plan.say(f"P13: {rest} writes at rest; operator {resident:.0f} MB")
    raw = bare_writes.seconds(cluster, children, events=writes - len(children), writers=_WRITERS)
    plan.say(f"P13: the same writes by a bare client: {raw:.1f} s")
    at = f"{count} deployments, external NATS, pretended pods"
    findings = (
        Finding("P12.operator_rss", _one(resident), f"{resident:.0f} MB", "", f"idle with {at}"),
        Finding("P12.operator_ready", _one(ready), f"{ready:.2f} s", "", "fork to leading"),
        Finding("P13.rest", _one(rest), f"{rest} writes", "", f"{plan.seconds(AT_REST):g} s, {at}"),
        Finding(
            "P13.change",
            _one(change / _TOUCHED),
            f"{change:.1f} writes",
            f"{_TOUCHED} objects that change",
            "one change of the instructions, from apply to the old workers' end",
        ),
        Finding(
            "P13.settle", _one(created / raw), f"{created:.1f} s", f"{raw:.1f} s for the same {writes} bare writes", at
        ),
    )
    rows = (
        ("created, all Ready", f"{created:.1f} s", f"{writes / count:.1f}"),
        ("instructions changed, all switched", f"{switched:.1f} s", f"{change:.1f}"),
    )
    return Measured(
        tuple(f for f in findings if f.rule.split(".")[0] in wanted),
        (Table(f"P13: {count} deployments", ("", "time", "writes of the operator per deployment"), rows),),
        ("P13: pods come from kwok, which makes them Ready at once; what is timed is the control loop.",),
    )


def _secrets(nats: servers.NatsServer) -> list[Object]:
    folder = nats.settings.credentials
    assert folder is not None
    login = {key: base64.b64encode((folder / key).read_bytes()).decode() for key in ("user", "password")}
    dsn = base64.b64encode(b"postgresql://nobody@nowhere.invalid/none").decode()
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nats"}, "data": login},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}, "data": {"dsn": dsn}},
    ]


def _deployment(number: int, nats: servers.NatsServer, instructions: str) -> Object:
    external = {"url": nats.settings.url, "secretRef": {"name": "nats"}, "storage": "16Mi"}
    return {
        "apiVersion": "herald.dev/v1alpha1",
        "kind": "AgentDeployment",
        "metadata": {"name": f"agent-{number}"},
        "spec": {
            "instructions": instructions,
            "channels": [{"name": "web", "web": {}}],
            "messaging": {"nats": {"external": external}},
            "database": {"external": {"secretRef": {"name": "database"}}},
            "inference": {"model": "scripted"},
            "rollout": {"scaleDownDelaySeconds": 5},
        },
    }


def _apply(cluster: Cluster, objects: list[Object]) -> None:
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("apply", "--server-side", "-n", NAMESPACE, "-f", "-", stdin=body)


def _settled(plan: Plan, cluster: Cluster, count: int, instructions: str, begun: float) -> float:
    """Seconds since `begun` when the last one is Ready with what it asks for."""
    while True:
        found = json.loads(cluster.kubectl("get", "agd", "-n", NAMESPACE, "-o", "json"))["items"]
        done = sum(_is_settled(body, instructions) for body in found)
        if done == count:
            return time.monotonic() - begun
        if time.monotonic() - begun > _SETTLE:
            raise Failed(f"only {done} of {count} deployments settled within {_SETTLE:g} s")
        plan.say(f"P13: {done} of {count}")
        time.sleep(1)


def _is_settled(body: Object, instructions: str) -> bool:
    seen = body.get("status") or {}
    conditions = {c["type"]: c["status"] for c in seen.get("conditions") or ()}
    current = seen.get("observedGeneration") == body["metadata"]["generation"]
    asked = not instructions or body["spec"]["instructions"] == instructions
    return current and asked and conditions.get("Ready") == "True" and not seen.get("candidateRevision")


def _writes(port: int) -> int:
    answer = get(port, "/metrics")
    if answer is None:
        raise Failed("the operator does not answer")
    return int(sum(float(n) for n in _WRITES.findall(answer[1])))


def _one(value: float) -> Figure:
    return Figure(value, value, value)
