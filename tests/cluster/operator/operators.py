"""The operator as a process outside of the cluster, with the rights of the chart's ServiceAccount and no others."""

import json
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import yaml
from tools.cluster import Cluster
from tools.cluster.plan import FAKE_NODE

from herald_cli.ports import Ports
from herald_cli.servers.program import Program
from herald_contracts.resources.v1alpha1 import API_VERSION, PLURAL
from tests.cluster.operator.api import Api
from tests.cluster.operator.places import soon
from tests.cluster.operator.proxy import Proxy
from tests.servers import Server
from tests.waiting import eventually_sync

SYSTEM = "herald-system"
_ACCOUNT = "herald-operator"
_CHART = Path(__file__).parents[3] / "charts" / "herald"
_TOKEN = "2h"
_COMPLAINT = re.compile(r'"event": "broke"|Traceback|orbidden')


def install(cluster: Cluster) -> None:
    """The CRD, GPUs, the chart's account with its rights; not its Deployment, which would be a second operator."""
    cluster.kubectl("apply", "--server-side", "-f", str(_CHART.parents[1] / "crds"))
    # Not `kubectl wait`, which fails on a CRD that has no conditions yet.
    served = f"/apis/{API_VERSION}/{PLURAL}"
    eventually_sync(lambda: cluster.api.get(served), within=60, what=f"the API server serves {served}")
    gpus = {"status": {kind: {"nvidia.com/gpu": "1000"} for kind in ("capacity", "allocatable")}}
    cluster.kubectl("patch", "node", FAKE_NODE, "--subresource=status", "--type=merge", f"--patch={json.dumps(gpus)}")
    cluster.kubectl("create", "namespace", SYSTEM)
    shown = ("--show-only=templates/rbac.yaml", "--show-only=templates/serviceaccount.yaml")
    rights = cluster.helm("template", "herald", str(_CHART), "--namespace", SYSTEM, *shown)
    cluster.kubectl("apply", "-n", SYSTEM, "-f", "-", stdin=rights)


def credentials(cluster: Cluster, path: Path, *, server: str = "", ca: str = "") -> Path:
    """A kubeconfig of the operator's account; `server` and `ca` (PEM) are those of a proxy where there is one."""
    token = cluster.kubectl("-n", SYSTEM, "create", "token", _ACCOUNT, f"--duration={_TOKEN}").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    if server:
        authority = path.with_suffix(".ca.crt")
        path.parent.mkdir(parents=True, exist_ok=True)
        authority.write_text(ca)
        config["clusters"][0]["cluster"] = {"server": server, "certificate-authority": str(authority)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    return path


class Operator(Server):
    """`start`, `kill`, `pause`, `resume`, `stop`. `start` returns once it leads.

    Not so with `at_once`: for one whose way to the API server is in this very process, or that has to stand by.
    """

    def __init__(
        self,
        folder: Path,
        kubeconfig: Path,
        *,
        at_once: bool = False,
        arguments: Sequence[str] = (),
    ) -> None:
        ports = Ports()
        self.health, metrics = ports.pick(), ports.pick()

        async def ready() -> bool:
            return at_once or await self.state() == "leading"

        super().__init__(
            Program(
                name="herald-operator",
                argv=(
                    sys.executable,
                    "-m",
                    "herald_operator",
                    "--host=127.0.0.1",
                    f"--health-port={self.health}",
                    f"--metrics-port={metrics}",
                    f"--lease-namespace={SYSTEM}",
                    "--log-level=debug",
                    *arguments,
                ),
                cwd=folder,
                env={"KUBECONFIG": str(kubeconfig), "POD_NAME": folder.name},
                ready=ready,
                start_seconds=60,
            )
        )

    async def state(self) -> str:
        """What it says of itself; empty while it says nothing."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http,
                http.get(f"http://127.0.0.1:{self.health}/healthz/ready") as answer,
            ):
                said: str = (await answer.json())["state"]
                return said
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return ""

    async def leads(self) -> bool:
        return await self.state() == "leading"

    def said(self) -> str:
        """Its log, all starts of it."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def endings(self) -> list[str]:
        """Why it ended, each time that it did by itself; not in full."""
        found = (json.loads(line) for line in self.said().splitlines() if '"event": "ended"' in line)
        return [entry["problem"].partition(":")[0] for entry in found]

    def complaints(self) -> list[str]:
        """Lines about bugs, and about rights that it lacks: there should never be any."""
        found = [line for line in self.said().splitlines() if _COMPLAINT.search(line)]
        return [line for line in found if "because it is being terminated" not in line]


@contextmanager
def running(folder: Path, kubeconfig: Path, *arguments: str) -> Iterator[Operator]:
    """One that leads for as long as the block runs."""
    made = Operator(folder, kubeconfig, arguments=arguments)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@asynccontextmanager
async def behind(way: Proxy, cluster: Cluster, folder: Path, api: Api, *arguments: str) -> AsyncIterator[Operator]:
    """One that leads, and reaches the API server by a proxy of this very loop only."""
    through = credentials(cluster, folder / "through", server=way.url, ca=way.authority)
    made = Operator(folder / "operator", through, at_once=True, arguments=arguments)
    made.start()
    await soon(made.leads, what="the operator leads")
    yield made
    # Not `stop`: its goodbye would wait for the proxy, and this loop for its end.
    made.kill()
    await api.delete("Lease", SYSTEM, "herald-operator")
