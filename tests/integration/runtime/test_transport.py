"""Publishing and pulling against a real nats-server: acknowledged means stored, and nothing gets stuck."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, StreamConfig

from herald_contracts.settings import Nats
from herald_runtime.acks import NotStored, OutcomeUnknown, Publisher, StreamFull
from herald_runtime.connection import Unreachable, connect
from herald_runtime.pulling import ConsumerGone, Puller


@pytest.fixture
async def client(own_nats: Any) -> AsyncIterator[Client]:
    client = await connect(own_nats.settings, "test")
    yield client
    await client.close()


@pytest.fixture
async def publisher(client: Client) -> AsyncIterator[Publisher]:
    publisher = Publisher(client)
    await publisher.start()
    yield publisher
    await publisher.stop()


async def stream(client: Client, **limits: Any) -> None:
    await client.jetstream().add_stream(
        StreamConfig(name="S", subjects=["s.>"], discard=DiscardPolicy.NEW, **limits),
    )


async def consumer(client: Client, name: str = "c") -> None:
    await client.jetstream().add_consumer(
        "S", ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT, ack_wait=30)
    )


async def test_the_same_id_is_stored_once(client: Client, publisher: Publisher) -> None:
    await stream(client)
    first = await publisher.publish("s.a", b"x", "id", deadline=5)
    again = await publisher.publish("s.a", b"x", "id", deadline=5)
    assert not first.duplicate
    assert again.duplicate
    assert again.sequence == first.sequence


async def test_many_at_once_each_get_their_own_answer(client: Client, publisher: Publisher) -> None:
    await stream(client)
    stored = await asyncio.gather(*(publisher.publish("s.a", b"x", str(n), deadline=10) for n in range(200)))
    assert sorted(s.sequence for s in stored) == list(range(1, 201))


async def test_a_full_stream_refuses(client: Client, publisher: Publisher) -> None:
    await stream(client, max_msgs=1)
    await publisher.publish("s.a", b"x", "1", deadline=5)
    with pytest.raises(StreamFull):
        await publisher.publish("s.a", b"x", "2", deadline=5)


async def test_no_stream_is_not_stored(publisher: Publisher) -> None:
    with pytest.raises(NotStored):
        await publisher.publish("nobody.listens", b"x", "1", deadline=5)


async def test_a_frozen_server_leaves_the_outcome_unknown(client: Client, publisher: Publisher, own_nats: Any) -> None:
    await stream(client)
    own_nats.pause()
    try:
        with pytest.raises(OutcomeUnknown):
            await publisher.publish("s.a", b"x", "1", deadline=0.2)
    finally:
        own_nats.resume()
    again = await publisher.publish("s.a", b"x", "1", deadline=10)
    assert again.duplicate  # it was stored: only the same id made the second try safe


async def test_a_killed_server_forgets_nothing_acknowledged(
    client: Client, publisher: Publisher, own_nats: Any
) -> None:
    await stream(client)
    for n in range(20):
        await publisher.publish("s.a", b"x", str(n), deadline=5)
    own_nats.kill()
    await own_nats.restart()
    await _stored(publisher, b"x", "20")
    info = await client.jetstream().stream_info("S")
    assert info.state.messages == 21


async def test_pulling_continues_past_its_batch_in_order(client: Client, publisher: Publisher) -> None:
    await stream(client)
    await consumer(client)
    for n in range(100):
        await publisher.publish("s.a", str(n).encode(), str(n), deadline=5)
    async with asyncio.timeout(20), Puller(client, "S", "c", batch=8) as puller:
        got: list[int] = []
        while len(got) < 100:
            message = await anext(puller)
            got.append(int(message.data))
            await message.ack()
    assert got == list(range(100))


async def test_a_slow_taker_is_never_given_more_than_its_batch(client: Client, publisher: Publisher) -> None:
    await stream(client)
    await consumer(client)
    for n in range(50):
        await publisher.publish("s.a", b"x", str(n), deadline=5)
    async with asyncio.timeout(20), Puller(client, "S", "c", batch=10) as puller:
        await anext(puller)
        await client.flush()
        info = await client.jetstream().consumer_info("S", "c")
        assert info.num_ack_pending is not None
        assert info.num_ack_pending <= 11
        assert len(puller.ready(50)) <= 10


async def test_pulling_survives_a_restart_of_the_server(client: Client, publisher: Publisher, own_nats: Any) -> None:
    await stream(client)
    await consumer(client)
    got: set[bytes] = set()
    async with asyncio.timeout(60):
        await publisher.publish("s.a", b"before", "1", deadline=5)
        own_nats.kill()
        await own_nats.restart()
        await _stored(publisher, b"after", "2")
        while got != {b"before", b"after"}:
            try:
                async with Puller(client, "S", "c") as puller:
                    while got != {b"before", b"after"}:
                        message = await anext(puller)
                        got.add(message.data)
                        await message.ack()
            except ConsumerGone:
                await asyncio.sleep(0.05)  # the server is still loading its streams


async def test_a_deleted_consumer_is_noticed(client: Client) -> None:
    await stream(client)
    await consumer(client)
    async with asyncio.timeout(30), Puller(client, "S", "c") as puller:
        await client.flush()
        await client.jetstream().delete_consumer("S", "c")
        with pytest.raises(ConsumerGone):
            await anext(puller)


async def test_no_server_says_where_it_looked() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        await connect(Nats(url="nats://127.0.0.1:1"), "test", wait=1)


async def _stored(publisher: Publisher, payload: bytes, message_id: str) -> None:
    """Publish as every caller does: again with the same id until it is stored."""
    async with asyncio.timeout(30):
        while True:
            try:
                await publisher.publish("s.a", payload, message_id, deadline=1)
                return
            except (NotStored, OutcomeUnknown):
                await asyncio.sleep(0.05)


async def test_a_message_lost_on_the_way_is_noticed(client: Client, publisher: Publisher) -> None:
    """A consumer without acknowledgement counts a message as delivered once it was sent, whoever got it."""
    await stream(client)
    await client.jetstream().add_consumer("S", ConsumerConfig(name="c", ack_policy=AckPolicy.NONE))
    for n in range(3):
        await publisher.publish("s.a", b"x", str(n), deadline=5)
    thief = await client.subscribe("elsewhere")
    await client.publish("$JS.API.CONSUMER.MSG.NEXT.S.c", b"1", reply="elsewhere")
    assert (await thief.next_msg(timeout=5)).metadata.sequence.stream == 1
    async with asyncio.timeout(20), Puller(client, "S", "c", gapless=True) as puller:
        with pytest.raises(ConsumerGone, match="lost on their way"):
            await anext(puller)
