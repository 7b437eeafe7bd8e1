"""The intake against a real stream: lost deliveries, back-pressure, and the place where it goes on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from nats.aio.client import Client

from herald_agent.intake import Intake
from herald_agent.steady import Backoff, Conditions, forever
from herald_agent.store.pool import Database
from herald_contracts.subjects import Names
from herald_runtime.connection import connect
from herald_runtime.waking import Bell
from tests import servers
from tests.integration.agent.outside import Outside
from tests.unit.agent.values import opened
from tests.waiting import eventually

Read = Callable[..., Awaitable[Intake]]


@pytest.fixture
async def client(nats: servers.Nats) -> AsyncIterator[Client]:
    client = await connect(nats.settings, "test")
    yield client
    await client.close()


@pytest.fixture
async def read(client: Client, db: Database, deployment: Names) -> AsyncIterator[Read]:
    """`await read(most_waiting=...)`: an intake that reads until the test ends."""
    tasks: list[asyncio.Task[None]] = []
    intakes: list[Intake] = []

    async def start(most_waiting: int = 5_000) -> Intake:
        intake = Intake(client, deployment, db, Bell(1), opened(), holder="w1", ttl=1.5, most_waiting=most_waiting)
        intakes.append(intake)
        tasks.append(asyncio.create_task(forever("intake", intake.once, Conditions(), backoff=Backoff(0.01, 0.1))))
        await eventually(lambda: intake.leading, what="the intake to read")
        return intake

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for intake in intakes:
        await intake.close()


async def claimed(db: Database) -> list[str]:
    return await db.values("SELECT event_id FROM turns ORDER BY position")


async def _steal(client: Client, names: Names, count: int) -> None:
    """Deliveries that reach nobody: what a broken connection does to those that were on their way."""
    js = client.jetstream()
    consumers = await js.consumers_info(names.in_stream)
    assert len(consumers) == 1
    stolen = asyncio.Event()
    inbox = client.new_inbox()
    seen = 0

    async def swallow(msg: object) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            stolen.set()

    subscription = await client.subscribe(inbox, cb=swallow)
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{names.in_stream}.{consumers[0].name}"
    await client.publish(subject, f'{{"batch": {count}, "expires": 30000000000}}'.encode(), reply=inbox)
    await client.flush()
    asyncio.get_running_loop().call_later(30, stolen.set)
    await stolen.wait()
    await subscription.unsubscribe()


async def test_deliveries_that_got_lost_are_read_again(
    read: Read, outside: Outside, client: Client, db: Database, deployment: Names
) -> None:
    """The server takes turns between the thief's request and the intake's: each gets some. None is missing."""
    await read()
    await outside.send("first")
    await eventually(lambda: _has(db, 1), what="the first")
    thief = asyncio.create_task(_steal(client, deployment, 5))
    for n in range(40):
        await outside.send(f"e{n}")
    await thief
    await eventually(lambda: _has(db, 41), what="all of them", within=30)
    assert await claimed(db) == ["first", *(f"e{n}" for n in range(40))]


async def test_a_lost_delivery_with_nothing_behind_it_is_missed_too(
    read: Read, outside: Outside, client: Client, db: Database, deployment: Names
) -> None:
    await read()
    await outside.send("first")
    await eventually(lambda: _has(db, 1), what="the first")
    thief = asyncio.create_task(_steal(client, deployment, 1))
    sent = 0
    while not thief.done():
        await outside.send(f"e{sent}")
        sent += 1
        await asyncio.wait({thief}, timeout=0.05)
    await eventually(lambda: _has(db, sent + 1), what="the stolen one", within=30)
    assert await claimed(db) == ["first", *(f"e{n}" for n in range(sent))]


async def test_what_is_too_much_stays_in_the_stream(read: Read, outside: Outside, db: Database) -> None:
    for n in range(500):
        await outside.send(f"e{n}", chat=f"c{n}")
    await read(most_waiting=50)
    batch = 100

    async def some() -> bool:
        return len(await claimed(db)) >= 50

    await eventually(some, what="the first turns")
    seen = []
    while len(await claimed(db)) < 500:
        waiting = int(await db.value("SELECT count(*) FROM turns WHERE state = 'waiting'"))
        seen.append(waiting)
        assert waiting < 50 + batch
        # Someone works them off.
        await db.values(
            "UPDATE turns SET state = 'done' WHERE id IN (SELECT id FROM turns WHERE state = 'waiting' LIMIT 30)"
            " RETURNING id"
        )
        await asyncio.sleep(0)
    assert max(seen) >= 50
    assert await claimed(db) == [f"e{n}" for n in range(500)]


async def _has(db: Database, number: int) -> bool:
    return len(await claimed(db)) >= number
