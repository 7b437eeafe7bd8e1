"""Many deployments and one operator: HERALD_MANY=200 takes ten minutes. `make bench` times 200 of them (P12, P13)."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tools.cluster import Cluster

from tests.cluster.operator.api import Api
from tests.cluster.operator.operators import SYSTEM, Operator, behind
from tests.cluster.operator.places import Place, soon
from tests.cluster.operator.proxy import Proxy

_COUNT = int(os.environ.get("HERALD_MANY", "20"))
_MOST_MEMORY = 120  # MiB
_REST = 20.0  # seconds

pytestmark = pytest.mark.timeout(2_400)


@pytest.fixture
async def operator(proxied: Proxy, fake_cluster: Cluster, tmp_path: Path, api: Api) -> AsyncIterator[Operator]:
    async with behind(proxied, fake_cluster, tmp_path, api) as made:
        yield made


async def test_many_deployments_settle_and_rest(place: Place, proxied: Proxy, operator: Operator) -> None:
    alone = _memory(operator.pid)
    began = time.monotonic()
    names = [f"many-{number}" for number in range(_COUNT)]
    for name in names:
        await place.create(place.document(name, agent__replicas=1, gateway__replicas=1))

    async def ready() -> bool:
        listed = await place.api.list("AgentDeployment", place.namespace)
        return [(r.get("status") or {}).get("phase") for r in listed] == ["Ready"] * _COUNT

    await soon(ready, what="all are ready", within=1_800)
    settled = time.monotonic() - began
    written = len(proxied.writes())
    await asyncio.sleep(10)
    before, cpu = len(proxied.writes()), _cpu(operator.pid)
    proxied.calls.clear()
    await asyncio.sleep(_REST)
    resting = [str(c) for c in proxied.writes()]
    used, memory = _cpu(operator.pid) - cpu, _memory(operator.pid)
    print(  # noqa: T201
        f"\n{_COUNT} deployments ready in {settled:.0f} s with {written} writes, and {before - written} after that; "
        f"at rest {len(resting)} writes and {len(proxied.calls)} requests in {_REST:.0f} s, {used:.1f} s of CPU, "
        f"{memory:.0f} MiB ({alone:.0f} MiB without any)"
    )
    assert resting == []
    # A restarted one lists everything at once, which takes the most memory.
    operator.kill()
    await place.api.delete("Lease", SYSTEM, "herald-operator")
    proxied.calls.clear()
    operator.start()
    await soon(operator.leads, what="it leads again")
    await asyncio.sleep(_REST)
    again = _memory(operator.pid)
    print(f"restarted: {again:.0f} MiB, {len(proxied.writes())} writes")  # noqa: T201
    assert [str(c) for c in proxied.writes()] == []
    assert max(memory, again) < _MOST_MEMORY


def _memory(pid: int) -> float:
    """Resident, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1_024 for line in lines if line.startswith("VmRSS:"))


def _cpu(pid: int) -> float:
    """Seconds so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
