"""The operator does its work with the rights of the chart and no others: run here, as its ServiceAccount."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.cluster import Cluster

from tests.cluster.rendering import CHARTS, container, of_helm_test, render
from tests.resource_documents import SMALLEST
from tests.waiting import eventually_sync

pytestmark = pytest.mark.timeout(300)

SYSTEM = "herald-system"
TOKEN_SECONDS = 3_600


@pytest.fixture(scope="module")
def cluster(own_kubernetes: Cluster) -> Cluster:
    own_kubernetes.helm("install", "herald-crds", str(CHARTS / "herald-crds"), "-n", SYSTEM, "--create-namespace")
    return own_kubernetes


@contextlib.contextmanager
def operating(cluster: Cluster, folder: Path, values: dict[str, Any]) -> Iterator[Path]:
    """An operator with the arguments and the rights that the chart gives it; its log."""
    cluster.helm(
        "upgrade", "--install", "herald", str(CHARTS / "herald"), "-n", SYSTEM, "--reset-values", "--values", "-",
        stdin=json.dumps(values),
    )  # fmt: skip
    # Not in its pods, which no node runs.
    token = cluster.kubectl("create", "token", "herald-operator", "-n", SYSTEM, f"--duration={TOKEN_SECONDS}s").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": u["name"], "user": {"token": token}} for u in config["users"]]
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    arguments = [a for a in container(render(values))["args"] if not a.startswith(("--health-port", "--metrics-port"))]
    ports = [f"--{name}-port={_free_port()}" for name in ("health", "metrics")]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "POD_NAME": "here", "POD_NAMESPACE": SYSTEM}
    log = folder / "operator.log"
    with log.open("w") as said:
        running = subprocess.Popen(
            [sys.executable, "-m", "herald_operator", "--host=127.0.0.1", *arguments, *ports],
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            yield log
        finally:
            running.terminate()
            running.wait(30)


def _free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port: int = some.getsockname()[1]
        return port


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["narrow"]}], ids=["everywhere", "in one namespace"])
def test_the_operator_has_what_it_needs(cluster: Cluster, tmp_path: Path, values: dict[str, Any]) -> None:
    namespace = values.get("watchNamespaces", ["wide"])[0]
    cluster.kubectl("create", "namespace", namespace)
    with operating(cluster, tmp_path, values) as log:
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump(SMALLEST))

        def children() -> bool:
            kinds = "statefulsets,deployments,services,configmaps,networkpolicies,controllerrevisions"
            made = cluster.kubectl("get", kinds, "-n", namespace, "-o", "name", "-l", "herald.dev/deployment=support")
            return {line.partition(".")[0].partition("/")[0] for line in made.split()} >= {
                "statefulset", "deployment", "service", "configmap", "networkpolicy",
            }  # fmt: skip

        eventually_sync(children, within=60, what="children of the deployment")
        status = eventually_sync(lambda: _status(cluster, namespace), within=60, what="a status")
        reasons = {c["type"]: c["reason"] for c in status["conditions"]}
        assert reasons["Accepted"] == "Accepted"
        assert reasons["Ready"] != "ApplyFailed", status["conditions"]
        # A Secret for each server, made without ever listing one.
        secrets = cluster.kubectl("get", "secrets", "-n", namespace, "-o", "name")
        assert {"secret/support-nats", "secret/support-postgres"} <= set(secrets.split())
        cluster.kubectl("delete", "agd", "support", "-n", namespace, "--timeout=60s")
        checked = checking(cluster, tmp_path, values)
        assert (checked.returncode, "here-" in checked.stdout) == (0, True), checked.stderr
        assert "no message was sent: there is no AgentDeployment that is Ready" in checked.stdout
    said = log.read_text()
    assert "orbidden" not in said, said
    assert not re.search(r"\b403\b", said), said


def checking(cluster: Cluster, folder: Path, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """What the pod of `helm test` runs, as it runs it."""
    account = folder / "account"
    account.mkdir(exist_ok=True)
    (account / "ca.crt").write_bytes(cluster.ca.read_bytes())
    *rights, pod = of_helm_test(values)
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": rights}))
    token = cluster.kubectl("create", "token", pod["spec"]["serviceAccountName"], "-n", SYSTEM)
    (account / "token").write_text(token)
    host, port = cluster.server.removeprefix("https://").split(":")
    [check] = pod["spec"]["containers"]
    return subprocess.run(
        [sys.executable, "-c", *check["args"]],
        env={
            "ACCOUNT": str(account),
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            **{e["name"]: e["value"] for e in check["env"]},
            **({"GATEWAY": os.environ["GATEWAY"]} if "GATEWAY" in os.environ else {}),
        },
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (None, "no operator is at work"),
        ({"holderIdentity": ""}, "no operator is at work"),
        ({"holderIdentity": "a", "renewTime": "2026-01-01T00:00:00.000000Z"}, "the operator was last seen"),
    ],
    ids=["none yet", "given back", "gone"],
)
def test_helm_test_fails_where_no_operator_works(
    cluster: Cluster, tmp_path: Path, spec: dict[str, Any] | None, said: str
) -> None:
    cluster.helm("upgrade", "--install", "herald", str(CHARTS / "herald"), "-n", SYSTEM, "--reset-values")
    cluster.kubectl("delete", "lease", "herald-operator", "-n", SYSTEM, "--ignore-not-found")
    if spec is not None:
        _leased(cluster, spec)
    checked = checking(cluster, tmp_path)
    assert checked.returncode == 1
    assert said in checked.stderr


_CONDITION = {
    "type": "Ready",
    "reason": "R",
    "message": "nats is starting",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("name", "ready", "said"),
    [
        ("asked/nobody", None, "there is no AgentDeployment asked/nobody: helm upgrade --set test.deployment="),
        ("asked/support", None, "asked/support is not ready: nobody has looked at it yet"),
        ("asked/support", "False", "asked/support is not ready: nats is starting"),
        (
            "asked/support",
            "True",
            "asked/support could not be asked (<urlopen error [Errno 111] Connection refused>): ",
        ),
        ("", "True", "asked/support could not be asked (<urlopen error [Errno 111] Connection refused>): "),
    ],
    ids=["none of that name", "nobody has looked", "not ready", "out of reach", "the first that is ready"],
)
def test_helm_test_fails_where_who_is_asked_does_not_answer(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ready: str | None, said: str
) -> None:
    cluster.helm("upgrade", "--install", "herald", str(CHARTS / "herald"), "-n", SYSTEM, "--reset-values")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    _leased(cluster, {"holderIdentity": "a", "renewTime": now})
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "asked"}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    cluster.kubectl("apply", "-n", "asked", "-f", "-", stdin=yaml.safe_dump(SMALLEST))
    status = {"conditions": [{**_CONDITION, "status": ready}] if ready else []}
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", "agd", "support", "-n", "asked", "--subresource=status", "--type=merge", "-p", patch)
    # Nobody listens there: no node runs a gateway here.
    monkeypatch.setenv("GATEWAY", f"http://127.0.0.1:{_free_port()}")
    checked = checking(cluster, tmp_path, {"test": {"deployment": name}})
    assert checked.returncode == 1, checked.stdout
    assert said in checked.stderr


def _leased(cluster: Cluster, spec: dict[str, Any]) -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "herald-operator", "namespace": SYSTEM},
        "spec": spec,
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(lease))


def _status(cluster: Cluster, namespace: str) -> dict[str, Any] | None:
    found = json.loads(cluster.kubectl("get", "agd", "support", "-n", namespace, "-o", "json"))
    status: dict[str, Any] | None = found.get("status")
    return status if status and status.get("components") else None
