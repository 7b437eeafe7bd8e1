"""What is kept of answers that are being written: the newest, for a while, and never much."""

import asyncio
from unittest.mock import AsyncMock, MagicMock

import pytest
from nats.aio.msg import Msg

from herald_contracts.subjects import Names
from herald_gateway.channels.web import live
from herald_gateway.channels.web.live import LiveUpdates

NAMES = Names("default", "demo")


class Feed:
    """Live updates, fed as the NATS client would."""

    def __init__(self) -> None:
        self.updates = LiveUpdates()
        self.client = MagicMock()
        self.client.subscribe = AsyncMock()

    async def publish(self, conversation: str, data: bytes) -> None:
        subscribed = self.client.subscribe.call_args
        assert subscribed.args == (NAMES.live_of("web"),)
        await subscribed.kwargs["cb"](Msg(self.client, NAMES.live("web", conversation), "", data))


@pytest.fixture
async def feed() -> Feed:
    made = Feed()
    await made.updates.start(made.client, NAMES, "web")
    return made


async def test_only_the_newest_is_kept(feed: Feed) -> None:
    await feed.publish("c1", b"one")
    await feed.publish("c2", b"other")
    await feed.publish("c1", b"two")
    assert feed.updates.newest("c1") == b"two"
    assert feed.updates.newest("c2") == b"other"
    assert feed.updates.newest("c3") is None


async def test_a_bell_rings_for_its_conversation_while_it_listens(feed: Feed) -> None:
    bell = asyncio.Event()
    with feed.updates.listening("c1", bell), feed.updates.listening("c1", asyncio.Event()):
        await feed.publish("c2", b"x")
        assert not bell.is_set()
        await feed.publish("c1", b"x")
        assert bell.is_set()
    bell.clear()
    await feed.publish("c1", b"y")
    assert not bell.is_set()


async def test_an_old_update_is_none(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    await feed.publish("c1", b"x")
    monkeypatch.setattr(live, "_FRESH_SECONDS", -1.0)
    assert feed.updates.newest("c1") is None


async def test_no_more_conversations_are_kept_than_allowed(feed: Feed) -> None:
    for number in range(live._KEPT + 10):
        await feed.publish(f"c{number}", b"x")
    kept = [n for n in range(live._KEPT + 10) if feed.updates.newest(f"c{n}") is not None]
    assert kept == list(range(10, live._KEPT + 10))


async def test_a_large_update_is_kept_for_an_open_page_only(feed: Feed) -> None:
    large = b"x" * (live._KEPT_BYTES + 1)
    await feed.publish("c1", b"small")
    await feed.publish("c1", large)
    assert feed.updates.newest("c1") is None, "a step that is older than what was left out"
    with feed.updates.listening("c1", asyncio.Event()):
        await feed.publish("c1", large)
        assert feed.updates.newest("c1") == large
