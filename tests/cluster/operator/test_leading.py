"""Two operators and one Lease: never two writers, whatever becomes of the one that leads."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tools.cluster import Cluster

from tests.cluster.operator.api import Api
from tests.cluster.operator.operators import SYSTEM, Operator, credentials
from tests.cluster.operator.places import Place, soon
from tests.cluster.operator.proxy import Proxy, proxy

pytestmark = pytest.mark.timeout(300)


@dataclass
class Candidate:
    """An operator with a way to the API server of its own, so that what it writes can be told from the other's."""

    operator: Operator
    way: Proxy


@pytest.fixture
async def pair(fake_cluster: Cluster, tmp_path: Path, api: Api) -> AsyncIterator[tuple[Candidate, Candidate]]:
    """The first one leads."""
    async with AsyncExitStack() as stack:
        made: list[Candidate] = []
        for name in ("first", "second"):
            way = await stack.enter_async_context(proxy(fake_cluster, tmp_path / name))
            through = credentials(fake_cluster, tmp_path / name / "config", server=way.url, ca=way.authority)
            operator = Operator(tmp_path / name, through, at_once=True)
            operator.start()
            stack.callback(operator.kill)
            if not made:
                await soon(operator.leads, what="the first one leads")
            made.append(Candidate(operator, way))
        await soon(lambda: _stands_by(made[1].operator), what="the second one stands by")
        yield made[0], made[1]
    await api.delete("Lease", SYSTEM, "herald-operator")


async def test_the_other_takes_over_when_the_leader_is_killed(pair: tuple[Candidate, Candidate], place: Place) -> None:
    leader, other = pair
    await place.create(place.document())
    await soon(lambda: _children(place), what="the leader is at work")
    leader.operator.kill()
    killed = time.monotonic()
    await soon(other.operator.leads, what="the other leads", within=30)
    assert time.monotonic() - killed < 25
    await place.settled()
    assert other.way.writes() != []


async def test_a_leader_that_ends_in_good_order_hands_over_at_once(pair: tuple[Candidate, Candidate]) -> None:
    leader, other = pair
    # Not `stop`, which would keep the proxies of this loop from answering.
    await asyncio.to_thread(leader.operator.stop)
    stopped = time.monotonic()
    assert (leader.operator.exit_code, leader.operator.endings()) == (0, [])
    await soon(other.operator.leads, what="the other leads", within=10)
    assert time.monotonic() - stopped < 8


async def test_a_leader_that_slept_through_its_lease_writes_nothing_more(
    pair: tuple[Candidate, Candidate], place: Place
) -> None:
    leader, other = pair
    await place.created()
    leader.operator.pause()
    await soon(other.operator.leads, what="the other leads", within=40)
    await place.change(instructions="Other.")
    await place.settled()
    before, new = len(leader.way.calls), len(other.way.writes())
    assert new > 0
    # What happened meanwhile reaches it all at once, and would be reason enough to write.
    await place.change(instructions="Third.")
    leader.operator.resume()
    await soon(lambda: _ended(leader.operator), what="the one that slept ends by itself", within=30)
    await place.settled()
    after = [str(call) for call in leader.way.calls[before:] if call.method != "GET"]
    # It may ask for the Lease back, in vain.
    assert [call for call in after if "/leases/" not in call] == []
    assert len(other.way.writes()) > new


async def test_a_leader_that_is_cut_off_stops_writing_before_the_other_begins(
    pair: tuple[Candidate, Candidate], place: Place
) -> None:
    leader, other = pair
    await place.created()
    leader.way.open.clear()
    await place.change(instructions="Other.")
    await soon(lambda: _ended(leader.operator), what="the one that is cut off ends", within=30)
    began = len(other.way.writes())
    assert began == 0
    await soon(other.operator.leads, what="the other leads", within=30)
    await place.settled()


async def _children(place: Place) -> bool:
    return len(await place.children()) > 5


async def _ended(operator: Operator) -> bool:
    return not operator.running


async def _stands_by(operator: Operator) -> bool:
    return await operator.state() == "standing by"
