"""Servers that vanish, freeze and come back: workers wait, nothing is lost, nothing is answered twice."""

import asyncio
import signal

from herald_agent.errors import StoreUnavailable
from herald_agent.store import ledger
from herald_contracts.streams import topology
from herald_operator import messaging
from tests.integration.agent.conftest import Estate, Hire
from tests.integration.agent.outside import Worker
from tests.waiting import eventually


async def ready(worker: Worker, expected: bool = True) -> None:
    async def look() -> bool:
        return ((await worker.get("/healthz/ready"))[0] == 200) is expected

    await eventually(look, within=40, what=f"readiness {expected}")


async def settled(estate: Estate, answered: int, within: float = 60) -> None:
    async def look() -> bool:
        try:
            counts = await ledger.counts(estate.db)
        except StoreUnavailable:
            return False
        return counts.balanced and counts.answered == answered

    await eventually(look, within=within, what=f"{answered} answered")


async def test_postgres_is_killed_under_load_and_all_is_answered(estate: Estate, hire: Hire) -> None:
    workers = [await hire(name, estate.settings).start().started() for name in ("w1", "w2")]
    for n in range(20):
        await estate.outside.send(f"before{n}", chat=f"c{n % 5}", user=f"u{n % 5}", content=f"[[delay=0.05]] a b c {n}")
    await estate.outside.all_answered_in("before0")
    estate.postgres.kill()
    await asyncio.gather(*(ready(worker, False) for worker in workers))
    for n in range(20):
        await estate.outside.send(f"during{n}", chat=f"c{n % 5}", user=f"u{n % 5}", content=f"during {n}")
    await estate.postgres.restart()
    await estate.outside.all_answered(within=60)
    await settled(estate, 40)
    estate.outside.judge()
    await asyncio.gather(*(ready(worker) for worker in workers))
    assert [worker.code for worker in workers] == [None, None]
    for worker in workers:
        outages = [line for line in worker.lines() if line.get("event") == "waiting"]
        assert 0 < len(outages) < 60, "a line when it begins, not at each attempt"
        assert not any("Traceback" in str(line) for line in worker.lines())


async def test_postgres_freezes_for_longer_than_a_lease(estate: Estate, hire: Hire) -> None:
    workers = [await hire(name, estate.settings).start().started() for name in ("w1", "w2")]
    for n in range(12):
        await estate.outside.send(f"e{n}", chat=f"c{n % 4}", user=f"u{n % 4}", content=f"[[delay=0.05]] a b c {n}")
    estate.postgres.pause()
    await asyncio.gather(*(ready(worker, False) for worker in workers))
    estate.postgres.resume()
    await estate.outside.all_answered(within=60)
    await settled(estate, 12)
    estate.outside.judge()


async def test_nats_is_killed_under_load_and_all_is_answered(estate: Estate, hire: Hire) -> None:
    workers = [await hire(name, estate.settings).start().started() for name in ("w1", "w2")]
    for n in range(20):
        await estate.outside.send(f"before{n}", chat=f"c{n % 5}", user=f"u{n % 5}", content=f"[[delay=0.05]] a b c {n}")
    await estate.outside.all_answered_in("before0")
    estate.nats.kill()
    await asyncio.gather(*(ready(worker, False) for worker in workers))
    await estate.nats.restart()
    for n in range(20):
        await estate.outside.send(f"after{n}", chat=f"c{n % 5}", user=f"u{n % 5}", content=f"after {n}")
    await estate.outside.all_answered(within=60)
    await settled(estate, 40)
    estate.outside.judge()
    assert [worker.code for worker in workers] == [None, None]


async def test_a_worker_may_start_before_its_servers(estate: Estate, hire: Hire) -> None:
    estate.nats.kill()
    estate.postgres.kill()
    worker = hire("w1", estate.settings).start()
    await eventually(lambda: worker.said("waiting"), what="the wait")
    await estate.postgres.restart()
    await estate.nats.restart()
    await worker.started()
    await estate.outside.send("e1")
    await estate.outside.all_answered()


async def test_a_worker_that_waits_for_its_servers_can_be_stopped(estate: Estate, hire: Hire) -> None:
    estate.nats.kill()
    worker = hire("w1", estate.settings).start()
    await eventually(lambda: worker.said("listening"), what="its health port")
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0


async def test_a_worker_whose_servers_are_gone_can_be_stopped(estate: Estate, hire: Hire) -> None:
    worker = await hire("w1", estate.settings, drain_seconds=0.5).start().started()
    await estate.outside.send("e1", content="[[first=60]] slow")

    async def busy() -> bool:
        return bool(await estate.db.value("SELECT count(*) FROM turns WHERE state = 'running'"))

    await eventually(busy, what="a running turn")
    estate.nats.kill()
    estate.postgres.kill()
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    assert not any("Traceback" in str(line) for line in worker.lines())
    assert "Traceback" not in worker.log.read_text()


async def test_a_stream_that_was_created_anew_is_read_from_its_start(estate: Estate, hire: Hire) -> None:
    worker = await hire("w1", estate.settings).start().started()
    for n in range(5):
        await estate.outside.send(f"old{n}")
    await estate.outside.all_answered()
    await settled(estate, 5)
    manager = estate.outside.client.jsm()
    await manager.delete_stream(estate.names.in_stream)
    await messaging.ensure(estate.outside.client, topology(estate.names, storage=256 * 2**20))
    # More than before, so that the sequence alone would not betray it.
    for n in range(8):
        await estate.outside.send(f"new{n}")
    await estate.outside.all_answered()
    await settled(estate, 13)
    estate.outside.judge()
    assert worker.code is None


async def test_a_consumer_that_is_deleted_is_made_again(estate: Estate, hire: Hire) -> None:
    await hire("w1", estate.settings).start().started()
    await estate.outside.send("e1")
    await estate.outside.all_answered()
    js = estate.outside.client.jetstream()
    for consumer in await js.consumers_info(estate.names.in_stream):
        await js.delete_consumer(estate.names.in_stream, consumer.name)
    await estate.outside.send("e2")
    await estate.outside.all_answered()
    estate.outside.judge()
