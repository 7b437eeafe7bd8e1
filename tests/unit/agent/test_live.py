"""Live updates: the first at once, then the newest at intervals, and never in the way."""

import asyncio
from typing import Any

from nats.errors import ConnectionClosedError

from herald_agent.live import Live
from herald_contracts.identity import reply_id
from herald_contracts.messages import LiveUpdate
from herald_contracts.subjects import Names
from tests.unit.agent.values import message, turn
from tests.waiting import eventually

NAMES = Names("a", "b")
WRITTEN = message(thread="t")


class Wire:
    """A NATS connection of which only publishing matters here."""

    def __init__(self) -> None:
        self.updates: list[LiveUpdate] = []
        self.is_connected = True
        self.hold: asyncio.Event | None = None
        self.broken = False

    async def publish(self, subject: str, data: bytes) -> None:
        assert subject == NAMES.live("hmac", WRITTEN.conversation)
        if self.broken:
            raise ConnectionClosedError
        if self.hold is not None:
            await self.hold.wait()
        self.updates.append(LiveUpdate.from_wire(data))


def live(wire: Wire, **fields: Any) -> Live:
    return Live(wire, NAMES, WRITTEN, turn(WRITTEN, **fields))  # type: ignore[arg-type]


async def test_it_begins_then_grows_then_stops() -> None:
    wire = Wire()
    async with live(wire, reply_number=1) as updates:
        await eventually(lambda: wire.updates)
        await updates.say("one")
        await eventually(lambda: wire.updates[-1].text == "one")
        for length in range(200):
            await updates.say("x" * length)
        await eventually(lambda: wire.updates[-1].text == "x" * 199)
    first, *rest = wire.updates
    assert (first.state, first.text, first.sequence) == ("started", "", 0)
    assert first.reply == reply_id(turn(WRITTEN).id, 1)
    assert (first.thread, first.reply_to) == ("t", WRITTEN.platform_message_id)
    assert len(rest) < 10, "what was said in between is not worth a message each"
    numbers = [update.sequence for update in wire.updates]
    assert numbers == sorted(set(numbers))


async def test_a_connection_that_hangs_or_breaks_does_not_hold_the_turn() -> None:
    wire = Wire()
    wire.hold = asyncio.Event()
    async with live(wire) as updates:
        for _ in range(100):
            await updates.say("x")
    assert wire.updates == []
    broken = Wire()
    broken.broken = True
    async with live(broken) as updates:
        await updates.say("x")
        await updates.retrying()
    away = Wire()
    away.is_connected = False
    async with live(away) as updates:
        await updates.retrying()
    assert away.updates == []


async def test_a_retry_voids_what_was_shown() -> None:
    wire = Wire()
    async with live(wire) as updates:
        await updates.say("half an ans")
        await eventually(lambda: wire.updates and wire.updates[-1].text)
        await updates.retrying()
    assert (wire.updates[-1].state, wire.updates[-1].text) == ("retrying", "")


async def test_a_turn_behind_a_reply_that_is_on_its_way_shows_nothing() -> None:
    wire = Wire()
    async with live(wire, quiet=True) as updates:
        await updates.say("x")
        await updates.retrying()
    assert wire.updates == []


async def test_a_huge_text_is_shown_in_part() -> None:
    wire = Wire()
    async with live(wire) as updates:
        await updates.say("x" * 1_000_000)
        await eventually(lambda: wire.updates and wire.updates[-1].text)
    assert len(wire.updates[-1].text) == 32_768
