"""Streams, consumers and buckets on a real server: created once, repaired after drift, never made smaller."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import nats as nats_py
import pytest
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType

from herald_contracts.errors import ConfigurationError
from herald_contracts.streams import Topology, topology
from herald_contracts.subjects import Names
from herald_operator import messaging
from herald_runtime.connection import connect
from tests import servers

MIB = 2**20


@pytest.fixture
async def client(own_nats: servers.Nats) -> AsyncIterator[Client]:
    client = await connect(own_nats.settings, "test")
    yield client
    await client.close()


@pytest.fixture
def wanted() -> Topology:
    return topology(Names("default", "support"), web_channels=("web", "intranet"), storage=64 * MIB)


def actions(changes: tuple[messaging.Change, ...]) -> set[str]:
    return {change.action for change in changes}


async def test_creates_everything_then_changes_nothing(client: Client, wanted: Topology) -> None:
    first = await messaging.ensure(client, wanted)
    assert actions(first) == {"created"}
    assert len(first) == len(wanted.streams) + len(wanted.buckets) + len(wanted.consumers)
    second = await messaging.ensure(client, wanted)
    assert actions(second) == {"unchanged"}
    assert not any(change.kept for change in second)

    manager = client.jsm()
    for stream in wanted.streams:
        config = (await manager.stream_info(stream.name)).config
        assert config.storage == StorageType.FILE
        assert config.retention == RetentionPolicy.LIMITS
        assert config.max_bytes == stream.max_bytes
        assert config.discard == (DiscardPolicy.NEW if stream.discard_new else DiscardPolicy.OLD)
    for consumer in wanted.consumers:
        found = (await manager.consumer_info(consumer.stream, consumer.name)).config
        assert found.ack_policy == AckPolicy.EXPLICIT
        assert found.max_ack_pending == consumer.max_ack_pending


async def test_callers_at_once_do_not_disturb_each_other(client: Client, wanted: Topology) -> None:
    done = await asyncio.gather(*(messaging.ensure(client, wanted) for _ in range(8)))
    assert all(actions(changes) <= {"created", "unchanged", "repaired"} for changes in done)
    assert actions(await messaging.ensure(client, wanted)) == {"unchanged"}


async def test_the_transcript_holds_both_directions_of_web_channels_only(client: Client, wanted: Topology) -> None:
    await messaging.ensure(client, wanted)
    names = Names("default", "support")
    js = client.jetstream()
    await js.publish(names.incoming("web", "c1"), b"question")
    await js.publish(names.outgoing("web", "c1"), b"answer")
    await js.publish(names.incoming("hmac", "c2"), b"elsewhere")
    transcript = await js.pull_subscribe(names.incoming("web", "c1"), stream=names.web_stream)
    assert [m.data for m in await transcript.fetch(1, timeout=5)] == [b"question"]
    transcript = await js.pull_subscribe(names.outgoing("web", "c1"), stream=names.web_stream)
    assert [m.data for m in await transcript.fetch(1, timeout=5)] == [b"answer"]
    assert (await client.jsm().stream_info(names.web_stream)).state.messages == 2


async def test_repairs_what_somebody_changed_and_keeps_the_messages(client: Client, wanted: Topology) -> None:
    await messaging.ensure(client, wanted)
    manager, first = client.jsm(), wanted.streams[0]
    await client.jetstream().publish(first.subjects[0].replace(">", "web.c1"), b"kept")
    found = (await manager.stream_info(first.name)).config
    await manager.update_stream(
        found.evolve(discard=DiscardPolicy.OLD, max_bytes=1 * MIB, max_age=60.0, max_msgs=10, duplicate_window=30.0)
    )
    consumer = wanted.consumers[0]
    before = (await manager.consumer_info(consumer.stream, consumer.name)).config
    await manager.add_consumer(consumer.stream, before.evolve(max_ack_pending=1, ack_wait=99.0))

    changes = {change.name: change for change in await messaging.ensure(client, wanted)}

    assert changes[first.name].action == "repaired"
    assert changes[f"{consumer.stream}/{consumer.name}"].action == "repaired"
    info = await manager.stream_info(first.name)
    assert info.config.discard == DiscardPolicy.NEW
    assert info.config.max_bytes == first.max_bytes
    assert info.config.max_age == first.max_age
    assert info.state.messages == 1
    after = (await manager.consumer_info(consumer.stream, consumer.name)).config
    assert (after.max_ack_pending, after.ack_wait) == (consumer.max_ack_pending, consumer.ack_wait)
    assert actions(await messaging.ensure(client, wanted)) == {"unchanged"}


async def test_a_missing_consumer_is_made_again_and_delivers_what_is_left(client: Client, wanted: Topology) -> None:
    await messaging.ensure(client, wanted)
    consumer = wanted.consumers[0]
    await client.jsm().delete_consumer(consumer.stream, consumer.name)
    changes = {c.name: c.action for c in await messaging.ensure(client, wanted)}
    assert changes.pop(f"{consumer.stream}/{consumer.name}") == "created"
    assert set(changes.values()) == {"unchanged"}


async def test_never_makes_a_stream_smaller(client: Client, wanted: Topology) -> None:
    await messaging.ensure(client, wanted)
    smaller = topology(Names("default", "support"), web_channels=("web", "intranet"), storage=32 * MIB)
    changes = await messaging.ensure(client, smaller)
    assert actions(changes) == {"unchanged"}
    kept = [text for change in changes for text in change.kept]
    assert kept
    assert all("max_bytes stays" in text for text in kept)
    first = wanted.streams[0]
    assert (await client.jsm().stream_info(first.name)).config.max_bytes == first.max_bytes


async def test_a_web_channel_more_or_less_changes_the_transcript_sources(client: Client, wanted: Topology) -> None:
    await messaging.ensure(client, wanted)
    names = Names("default", "support")
    fewer = topology(names, web_channels=("web",), storage=64 * MIB)
    assert {c.name for c in await messaging.ensure(client, fewer) if c.action == "repaired"} == {names.web_stream}
    sources = (await client.jsm().stream_info(names.web_stream)).config.sources
    assert sources is not None
    assert {s.filter_subject for s in sources} == {names.incoming("web", "*"), names.outgoing("web", "*")}


async def test_no_room_is_explained(tmp_path_factory: pytest.TempPathFactory, wanted: Topology) -> None:
    server = servers.Nats(tmp_path_factory.mktemp("small"), storage=8 * MIB)
    server.start()
    try:
        client = await connect(server.settings, "test")
        with pytest.raises(ConfigurationError, match="no room") as refused:
            await messaging.ensure(client, wanted)
        await client.close()
    finally:
        server.stop()
    assert "max_file_store" in refused.value.hint


async def test_storage_in_memory_is_refused(client: Client, wanted: Topology) -> None:
    first = wanted.streams[0]
    await client.jsm().add_stream(name=first.name, subjects=list(first.subjects), storage=StorageType.MEMORY)
    with pytest.raises(ConfigurationError, match="cannot be changed"):
        await messaging.ensure(client, wanted)


async def test_a_push_consumer_in_the_way_is_refused(client: Client, wanted: Topology) -> None:
    await messaging.ensure(client, wanted)
    consumer = wanted.consumers[0]
    await client.jsm().delete_consumer(consumer.stream, consumer.name)
    await client.jsm().add_consumer(
        consumer.stream, ConsumerConfig(durable_name=consumer.name, deliver_subject="elsewhere")
    )
    with pytest.raises(ConfigurationError, match="another kind"):
        await messaging.ensure(client, wanted)


async def test_a_server_that_is_gone_is_a_temporary_error(own_nats: servers.Nats, wanted: Topology) -> None:
    client = await nats_py.connect(own_nats.url, allow_reconnect=False)
    own_nats.kill()
    with pytest.raises(messaging.MessagingUnavailable):
        await messaging.ensure(client, replace(wanted, consumers=()), timeout=1)
    await client.close()
