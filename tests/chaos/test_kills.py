"""Every part is killed and frozen under a steady load on all four channels; the outside ledger must stay clean.

`make test` runs one round: each part killed once and frozen once. `make chaos` goes on for CHAOS_SECONDS, at
random; the seed is printed, and CHAOS_SEED repeats it.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.chaos.load import Load
from tests.world import World

PARTS = ("gateway", "agent-1", "agent-2", "nats", "postgres", "triton", "milvus")
FROZEN = 8.0  # seconds: longer than every lease


@asynccontextmanager
async def under_load(whole: World, conversations: int = 4, pause: float = 0.5) -> AsyncIterator[Load]:
    """A load that is judged at the end."""
    load = Load(whole.platforms, conversations=conversations, pause=pause, directives="[[delay=0.01]]")
    running = asyncio.create_task(load.run())
    try:
        yield load
        async with asyncio.timeout(120):
            await load.stop()
        counts = await whole.until_settled()
        await _shown(load)
        verdict = load.verdict()
        print(f"\n{verdict}; ledger {counts}")
        assert verdict.clean, str(verdict)
        assert counts["accepted"] == verdict.accepted
        assert counts["answered"] == verdict.answered
        assert counts["accepted"] == sum(n for state, n in counts.items() if state != "accepted")
    finally:
        load.release()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _shown(load: Load) -> None:
    """The ledger is settled; what is on its way to a reader of the chat page may take a moment longer."""
    deadline = time.monotonic() + 40
    while load.verdict().lost and time.monotonic() < deadline:
        await asyncio.sleep(0.2)


async def answered(load: Load, more: int = 8, seconds: float = 90) -> None:
    """Wait until `more` further messages were answered: the whole works again."""
    goal = len(load.inbox()) + more
    async with asyncio.timeout(seconds):
        while len(load.inbox()) < goal:
            await asyncio.sleep(0.05)


async def freeze(whole: World, name: str, seconds: float = FROZEN) -> None:
    async with whole.frozen(name):
        await asyncio.sleep(seconds)


@pytest.mark.timeout(600)
async def test_each_part_is_killed_under_load(whole: World) -> None:
    async with under_load(whole) as load:
        for part in PARTS:
            await answered(load)
            await whole.kill(part)
            await answered(load)


@pytest.mark.timeout(600)
async def test_each_part_freezes_under_load(whole: World) -> None:
    async with under_load(whole) as load:
        for part in PARTS:
            await answered(load)
            await freeze(whole, part)
            await answered(load)


@pytest.mark.skipif("CHAOS_SECONDS" not in os.environ, reason="the long round is `make chaos`")
@pytest.mark.timeout(0)
async def test_anything_at_any_time(whole: World) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or time.time())
    seconds = float(os.environ["CHAOS_SECONDS"])
    print(f"\nCHAOS_SEED={seed}")
    chance = random.Random(seed)
    deeds: list[Callable[[str], Coroutine[Any, Any, None]]] = [
        whole.kill,
        lambda part: freeze(whole, part, chance.uniform(0.5, 12)),
    ]
    async with under_load(whole, conversations=6, pause=0.3) as load:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            part, deed = chance.choice(PARTS), chance.choice(deeds)
            await deed(part)
            await asyncio.sleep(chance.uniform(0, 3))
            print(f"{len(load.sent)} accepted, {len(load.inbox())} answered", flush=True)
        await answered(load)
