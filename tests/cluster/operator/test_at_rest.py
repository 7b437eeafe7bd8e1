"""Where nothing happens, nothing is written: counted by a proxy, over more than a minute, with the shortest resync."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tools.cluster import Cluster

from tests.cluster.operator.api import Api
from tests.cluster.operator.operators import Operator, behind
from tests.cluster.operator.places import Place, soon
from tests.cluster.operator.proxy import Proxy

pytestmark = pytest.mark.timeout(600)

_REST = 60.0  # seconds: NATS is looked at again within them, too


@pytest.fixture
async def watched_operator(proxied: Proxy, fake_cluster: Cluster, tmp_path: Path, api: Api) -> AsyncIterator[Operator]:
    """Every deployment is looked at again every three seconds: twenty chances for a needless write."""
    async with behind(proxied, fake_cluster, tmp_path, api, "--resync=3") as made:
        yield made


async def test_no_write_in_a_minute(place: Place, proxied: Proxy, watched_operator: Operator) -> None:
    """One that is ready, suspended, paused, waiting for a person, given up, refused, scaled by others, with drift."""
    scaled = {"agent__autoscaling": {"max": 4}, "gateway__autoscaling": {"max": 4}}
    await asyncio.gather(
        place.create(place.document("ready")),
        place.create(place.document("scaled", **scaled)),
        place.create(place.document("waiting", rollout__autoPromote=False)),
        place.create(place.document("stopped")),
        place.create(place.document("paused")),
        place.create(place.document("failed", rollout__progressDeadlineSeconds=10)),
        place.create(place.document("refused", instructions=None, instructionsFrom={"name": "none", "key": "k"})),
    )
    for name in ("ready", "scaled", "waiting", "stopped", "paused", "failed"):
        await place.settled(name)
    await place.change("waiting", instructions="Other.")
    await place.change("stopped", suspend=True)
    await place.change("paused", paused=True)
    await place.change("failed", instructions="Other.", agent__resources={"requests": {"cpu": "5000"}})
    await place.api.merge("Service", place.namespace, "ready-gateway", {"metadata": {"labels": {"team": "blue"}}})
    await place.says("Progressing", "False", "WaitingForPromotion", name="waiting")
    await place.until(lambda r: r["status"]["phase"] == "Suspended", "stopped", what="suspended")
    await place.until(lambda r: r["status"]["phase"] == "Paused", "paused", what="paused")
    await place.says("Promoted", "False", "RevisionFailed", name="failed")
    await place.says("Accepted", "False", "ReferenceMissing", name="refused")
    await _quiet(proxied)
    reads = len(proxied.calls)
    written = len(proxied.writes())
    await asyncio.sleep(_REST)
    # It did look.
    assert len(proxied.calls) - reads > 7 * _REST / 5
    assert [str(call) for call in proxied.writes()[written:]] == []
    events = [c for c in proxied.calls[reads:] if "/events" in c.path and c.method == "POST"]
    assert events == []


async def _quiet(proxied: Proxy) -> None:
    """Until nothing was written for five seconds: what others do (autoscalers, the scheduler) has come to its end."""
    before, since = -1, 0.0
    clock = asyncio.get_running_loop().time

    async def quiet() -> bool:
        nonlocal before, since
        now = len(proxied.writes())
        if now != before:
            before, since = now, clock()
        return clock() - since > 5

    await soon(quiet, what="quiet", within=60)
