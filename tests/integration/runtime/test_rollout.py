"""The rollout record on a real server: one winner, and followers that end with the newest record whatever happens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from herald_contracts.errors import HeraldError
from herald_contracts.rollout import Rollout
from herald_contracts.streams import topology
from herald_contracts.subjects import Names
from herald_operator import messaging
from herald_runtime import rollout
from herald_runtime.acks import NotStored
from herald_runtime.connection import connect
from herald_runtime.rollout import Conflict, Following, UnreadableRecord, activate, read, switch
from tests import servers
from tests.waiting import eventually

NAMES = Names("test", "rollout")
KEY = f"$KV.{NAMES.rollout_bucket}.{NAMES.rollout_key}"
STREAM = f"KV_{NAMES.rollout_bucket}"


async def create(client: Client) -> None:
    """The bucket as the operator makes it, and nothing else."""
    wanted = topology(NAMES)
    buckets = tuple(bucket for bucket in wanted.buckets if bucket.name == NAMES.rollout_bucket)
    await messaging.ensure(client, type(wanted)((), (), buckets, 1))


@pytest.fixture
async def client(own_nats: servers.Nats) -> AsyncIterator[Client]:
    client = await connect(own_nats.settings, "test")
    await create(client)
    yield client
    await client.close()


@pytest.fixture
def only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Followers look once, and then only when a message tells them to."""
    monkeypatch.setattr(rollout, "_AGAIN", 3_600)


@pytest.fixture
async def followed(own_nats: servers.Nats, client: Client) -> AsyncIterator[list[Rollout]]:
    """What a follower with a connection of its own has heard of, as a worker's loop would have it."""
    heard: list[Rollout] = []
    own = await connect(own_nats.settings, "follower")
    following = Following(own, NAMES, heard.append)

    async def follow() -> None:
        while True:
            with contextlib.suppress(HeraldError, OSError, NatsError):
                await following.once()
                continue
            await asyncio.sleep(0.05)

    await following.start()
    task = asyncio.create_task(follow())
    yield heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await own.close()


def ends_with(heard: list[Rollout], record: Rollout) -> Callable[[], bool]:
    return lambda: bool(heard) and heard[-1] == record


async def test_create_read_switch_and_refuse_the_loser(client: Client) -> None:
    assert await read(client, NAMES) == (None, 0)
    first = Rollout(active="r1", generation=1)
    at = await switch(client, NAMES, 0, first)
    assert await read(client, NAMES) == (first, at)
    with pytest.raises(Conflict):
        await switch(client, NAMES, 0, Rollout(active="r2", generation=1))
    second = first.then("r2", stable="r1")
    later = await switch(client, NAMES, at, second)
    with pytest.raises(Conflict):
        await switch(client, NAMES, at, first.then("r3"))
    assert await read(client, NAMES) == (second, later)


async def test_of_concurrent_switches_exactly_one_wins(client: Client) -> None:
    at = await switch(client, NAMES, 0, Rollout(active="r0", generation=1))
    for round_ in range(10):
        wanted = [Rollout(active=f"r{round_}-{n}", generation=round_ + 2) for n in range(8)]
        done = await asyncio.gather(*(switch(client, NAMES, at, each) for each in wanted), return_exceptions=True)
        won = [n for n, result in enumerate(done) if isinstance(result, int)]
        assert len(won) == 1
        assert all(isinstance(result, Conflict) for n, result in enumerate(done) if n not in won)
        known, at = await read(client, NAMES)
        assert known == wanted[won[0]]


async def test_activating_is_idempotent_and_counts_up(client: Client) -> None:
    assert await activate(client, NAMES, "r1") == Rollout(active="r1", generation=1)
    assert await activate(client, NAMES, "r1") == Rollout(active="r1", generation=1)
    assert await activate(client, NAMES, "r2") == Rollout(active="r2", generation=2)
    done = await asyncio.gather(*(activate(client, NAMES, "r3") for _ in range(4)))
    assert set(done) == {Rollout(active="r3", generation=3)}


async def test_no_bucket_and_no_jetstream_are_told_apart_from_a_conflict(client: Client) -> None:
    await client.jsm().delete_stream(STREAM)
    assert await read(client, NAMES) == (None, 0)
    with pytest.raises(NotStored, match="no bucket"):
        await switch(client, NAMES, 0, Rollout(active="r1", generation=1))


async def test_garbage_is_refused_with_what_is_needed_to_replace_it(client: Client) -> None:
    stored = await client.jetstream().publish(KEY, b'{"active": 7}')
    with pytest.raises(UnreadableRecord, match="Rollout: active") as caught:
        await read(client, NAMES)
    assert caught.value.revision == stored.seq
    await switch(client, NAMES, caught.value.revision, Rollout(active="r1", generation=1))
    await client.jetstream().publish(KEY, b"?")
    assert (await activate(client, NAMES, "r2")).active == "r2"


async def test_a_deleted_key_can_be_written_again(client: Client) -> None:
    await activate(client, NAMES, "r1")
    await client.jetstream().publish(KEY, headers={"KV-Operation": "DEL"})
    known, at = await read(client, NAMES)
    assert known is None
    await switch(client, NAMES, at, Rollout(active="r2", generation=1))
    assert (await activate(client, NAMES, "r2")).generation == 1


async def test_a_follower_hears_of_a_switch_at_once(client: Client, only_told: None, followed: list[Rollout]) -> None:
    for n in range(21):
        await eventually(ends_with(followed, await activate(client, NAMES, f"r{n + 1}")))
    assert [record.generation for record in followed] == list(range(1, 22))


async def test_a_follower_that_nobody_tells_finds_out_by_itself(client: Client, followed: list[Rollout]) -> None:
    await eventually(ends_with(followed, await activate(client, NAMES, "r1")))
    new = Rollout(active="r2", generation=2)
    await client.jetstream().publish(KEY, new.to_wire())
    await eventually(ends_with(followed, new))


async def test_a_follower_survives_a_restart(own_nats: servers.Nats, client: Client, followed: list[Rollout]) -> None:
    await eventually(ends_with(followed, await activate(client, NAMES, "r1")))
    own_nats.kill()
    await own_nats.restart()

    async def reads() -> Rollout | None:
        with contextlib.suppress(NatsError):
            return (await read(client, NAMES))[0]
        return None

    assert await eventually(reads) == Rollout(active="r1", generation=1)
    await eventually(ends_with(followed, await activate(client, NAMES, "r2")))


async def test_a_bucket_that_is_gone_changes_nothing_until_it_is_written_again(
    client: Client, followed: list[Rollout]
) -> None:
    await activate(client, NAMES, "r1")
    await activate(client, NAMES, "r2")
    last = await activate(client, NAMES, "r3")
    await eventually(ends_with(followed, last))
    await client.jsm().delete_stream(STREAM)
    await client.publish(NAMES.rollout_changed, b"")
    await create(client)
    # The same generation and the same revision in the bucket as the first of the old one.
    again = await activate(client, NAMES, "r1")
    assert again.generation == 1
    await eventually(ends_with(followed, again))
    await client.jetstream().publish(KEY, b"no record")
    await eventually(ends_with(followed, await activate(client, NAMES, "r5")))
    assert len(followed) <= 5


async def test_an_old_state_that_a_server_shows_again_is_not_followed(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server that was cut off from its leader may answer."""
    await activate(client, NAMES, "r1")
    old = await rollout._look(client, NAMES)
    await activate(client, NAMES, "r2")
    new = await rollout._look(client, NAMES)
    answers = iter([new, old, rollout._NOTHING, old, new])

    async def look(*_: Any) -> Any:
        return next(answers)

    monkeypatch.setattr(rollout, "_look", look)
    heard: list[Rollout] = []
    following = Following(client, NAMES, heard.append)
    for _ in range(5):
        following._bell.ring()
        await following.once()
    assert [record.active for record in heard] == ["r2"]
