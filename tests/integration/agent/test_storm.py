"""Three workers under a steady load, and something breaks every second: workers, PostgreSQL, NATS, in any order.

The crash tests hit each point on purpose; this one looks for what nobody thought of. A seed makes a failure happen
again; more of them: `HERALD_STORM_SEEDS=20 HERALD_STORM_SECONDS=60 pytest tests/integration/agent/test_storm.py`.
"""

import asyncio
import os
import random
import signal
import time

import pytest

from herald_agent.errors import StoreUnavailable
from herald_agent.store import ledger
from tests.integration.agent.conftest import Estate, Hire
from tests.integration.agent.outside import Worker
from tests.waiting import eventually

SEEDS = int(os.environ.get("HERALD_STORM_SEEDS", "1"))
SECONDS = float(os.environ.get("HERALD_STORM_SECONDS", "12"))
SAID = ["hi {}", "[[delay=0.05]] a b c {}", "[[fail=1]] again {}", "[[first=0.5]] slow {}", "remember that {} is good"]


class Storm:
    def __init__(self, estate: Estate, workers: list[Worker], seed: int) -> None:
        self.estate = estate
        self.workers = workers
        self.random = random.Random(seed)
        self.sent = 0

    async def load(self) -> None:
        while True:
            number, self.sent = self.sent, self.sent + 1
            chat = self.random.randrange(12)
            content = self.random.choice(SAID).format(number)
            await self.estate.outside.send(f"e{number}", chat=f"c{chat}", user=f"u{chat % 7}", content=content)
            await asyncio.sleep(0.05)

    async def rage(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(self.random.uniform(0.3, 1.5))
            worker = self.random.choice(self.workers)
            match self.random.choice(["kill", "kill", "freeze", "terminate", "postgres", "nats", "slow", "deaf"]):
                case "kill":
                    worker.kill()
                    worker.start()
                case "freeze":
                    worker.signal(signal.SIGSTOP)
                    await self.pause(3)
                    worker.signal(signal.SIGCONT)
                case "terminate":
                    worker.signal(signal.SIGTERM)
                    # -15: it was still starting.
                    assert await worker.ended() in (0, -signal.SIGTERM), worker.log.read_text()
                    worker.start()
                case "postgres":
                    self.estate.postgres.kill()
                    await self.pause(2)
                    await self.estate.postgres.restart()
                case "nats":
                    self.estate.nats.kill()
                    await self.pause(2)
                    await self.estate.nats.restart()
                case "slow":
                    self.estate.postgres.pause()
                    await self.pause(3)
                    self.estate.postgres.resume()
                case "deaf":
                    self.estate.nats.pause()
                    await self.pause(3)
                    self.estate.nats.resume()

    async def pause(self, most: float) -> None:
        await asyncio.sleep(self.random.uniform(0.1, most))


@pytest.mark.timeout(90 + 3 * SECONDS)
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
async def test_a_storm(estate: Estate, hire: Hire, seed: int) -> None:
    workers = [hire(f"w{n}", estate.settings).start() for n in range(3)]
    for worker in workers:
        await worker.started()
    storm = Storm(estate, workers, seed)
    load = asyncio.create_task(storm.load())
    await storm.rage(SECONDS)
    load.cancel()
    await asyncio.gather(load, return_exceptions=True)
    await estate.outside.all_answered(within=60)

    async def settled() -> bool:
        try:
            counts = await ledger.counts(estate.db)
        except StoreUnavailable:
            return False
        # The load was cut off while it sent: that message may or may not have been accepted.
        return counts.balanced and counts.answered == counts.accepted >= len(estate.outside.expected)

    await eventually(settled, within=60, what="the ledger to settle")
    unasked = {reply.id for reply in estate.outside.replies} - estate.outside.expected
    assert len(unasked) <= 1
    estate.outside.replies = [reply for reply in estate.outside.replies if reply.id not in unasked]
    estate.outside.judge()
    assert {reply.kind for reply in estate.outside.replies} == {"answer"}
    assert [worker.code for worker in workers] == [None] * 3
    assert not any("Traceback" in worker.log.read_text() for worker in workers)
