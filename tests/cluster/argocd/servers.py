"""Argo CD as processes: Redis, the repository server and the application controller, outside of the cluster.

They act as an administrator on the cluster that Argo CD calls its own (https://kubernetes.default.svc), so that what
is written for an Argo CD inside a cluster works here word for word.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
import yaml
from tools.cluster import Cluster, binaries

from herald_cli.ports import Ports
from herald_cli.servers.program import Program
from tests.debian import missing
from tests.servers import Server
from tests.waiting import eventually_sync

NAMESPACE = "argocd"
CONFIGURATION = Path(__file__).parents[3] / "manifests" / "argocd" / "argocd-cm.yaml"
_LOOK_AGAIN = "10s"  # at git, and at everything: minutes in production
_PROJECT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AppProject",
    "metadata": {"name": "default", "namespace": NAMESPACE},
    "spec": {
        "sourceRepos": ["*"],
        "destinations": [{"server": "*", "namespace": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    },
}
_KEY = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "argocd-secret", "namespace": NAMESPACE},
    "stringData": {"server.secretkey": "nobody logs in here"},
}


def require() -> None:
    """Skip, or fail in CI, where Argo CD cannot be run."""
    if shutil.which("redis-server") is None:
        missing("no Redis on this machine: apt-get install redis-server")
    lacking = [module for module in ("helm", "argocd") if not binaries.is_built(module)]
    if lacking:
        pytest.fail(f"not built yet: {', '.join(lacking)}. Run `make cluster-build`, once")


@contextlib.contextmanager
def running(cluster: Cluster, folder: Path) -> Iterator[list[Server]]:
    """Argo CD with its own configuration as it ships, and ours put into it the way herald.yaml says."""
    _configure(cluster)
    made: list[Server] = []
    try:
        for server in _servers(cluster, folder):
            made.append(server)
            server.start()
        yield made
    finally:
        for server in reversed(made):
            server.stop()


def _configure(cluster: Cluster) -> None:
    shipped = binaries.program("argocd").with_name("configuration.yaml")
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", "--server-side", "-n", NAMESPACE, "-f", str(shipped))
    for plural in ("appprojects", "applications"):
        # Not `kubectl wait`, which fails on a CRD that has no conditions yet.
        served = f"/apis/argoproj.io/v1alpha1/{plural}"
        eventually_sync(partial(cluster.api.get, served), within=60, what=f"the API server serves {served}")
    own = yaml.safe_dump_all([_PROJECT, _KEY])
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=own)
    patch = ("patch", "configmap", "argocd-cm", "--patch-file", str(CONFIGURATION))
    cluster.kubectl("--namespace", NAMESPACE, *patch)


def _servers(cluster: Cluster, folder: Path) -> list[Server]:
    ports = Ports()
    redis, repositories, metrics, controller = (ports.pick() for _ in range(4))
    tools = _tools(cluster, folder / "bin")
    address = f"--redis=127.0.0.1:{redis}"

    def argocd(name: str, port: int, *arguments: str) -> Program:
        home = folder / name
        (home / "tmp").mkdir(parents=True)
        return Program(
            name=name,
            argv=(str(binaries.program("argocd")), address, *arguments, f"--metrics-port={port}"),
            cwd=home,
            env={
                "ARGOCD_BINARY_NAME": f"argocd-{name}",
                "ARGOCD_FAKE_IN_CLUSTER": "true",
                "ARGOCD_GPG_ENABLED": "false",
                "ARGOCD_RECONCILIATION_TIMEOUT": _LOOK_AGAIN,
                "ARGOCD_RECONCILIATION_JITTER": "0s",
                "HOME": str(home),
                "KUBECONFIG": str(cluster.kubeconfig),
                "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin",
                "TMPDIR": str(home / "tmp"),
            },
            ready=lambda: _answers(port),
            stop_seconds=10,
        )

    (folder / "redis").mkdir(parents=True)
    store = ("redis-server", f"--port {redis}", "--bind 127.0.0.1", "--save", "", "--appendonly no")
    return [
        Server(
            Program(
                name="redis",
                argv=tuple(word for part in store for word in (part.split() or [""])),
                cwd=folder / "redis",
                ready=lambda: _listens(redis),
            )
        ),
        Server(argocd("repo-server", metrics, "--address=127.0.0.1", f"--port={repositories}", "--disable-tls")),
        Server(
            argocd(
                "application-controller",
                controller,
                f"--kubeconfig={cluster.kubeconfig}",
                f"--namespace={NAMESPACE}",
                f"--repo-server=127.0.0.1:{repositories}",
                "--repo-server-plaintext",
            )
        ),
    ]


def _tools(cluster: Cluster, folder: Path) -> Path:
    """What the repository server runs: our Helm, and the Kustomize that kubectl brings."""
    folder.mkdir(parents=True)
    (folder / "helm").symlink_to(binaries.program("helm"))
    kubectl = cluster.settings.program("kubernetes", "kubectl")
    script = folder / "kustomize"
    script.write_text(f'#!/bin/sh\ntest "$1" = build && shift\nexec {kubectl} kustomize "$@"\n')
    script.chmod(0o755)
    return folder


async def _answers(port: int) -> bool:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
            http.get(f"http://127.0.0.1:{port}/healthz") as answer,
        ):
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
