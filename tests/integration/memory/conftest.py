"""Memories over real servers."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from herald_agent.memory.create import StoredMemory
from herald_agent.memory.embedding import Embedder, TritonEmbedder
from herald_agent.memory.facts import Facts, Pool
from herald_agent.memory.recall import Outcome
from herald_agent.memory.vectors import MilvusVectors, Vectors
from herald_agent.store.pool import Database
from herald_contracts.subjects import Names
from tests import servers

LIMIT = 4
GENEROUS = 5.0  # seconds: for tests that are not about the time


@dataclass
class Worker:
    """One worker's memory with its parts, and how its recalls ended."""

    memory: StoredMemory
    pool: Pool
    embedder: Embedder
    vectors: Vectors
    outcomes: list[Outcome] = field(default_factory=list)
    _running: "asyncio.Task[None] | None" = None

    def run(self) -> None:
        """Start the background writer; it ends with the test."""
        self._running = asyncio.create_task(self.memory.run())

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
            self._running = None

    async def unwritten(self) -> int:
        """Facts that have no vector yet."""
        async with self.pool.connection() as connection:
            row = await (await connection.execute("SELECT count(*) FROM facts WHERE embedder IS NULL")).fetchone()
            assert row is not None
            return int(row[0])

    async def written(self) -> None:
        """Wait until every fact has its vector."""
        await until(self._all_written)

    async def _all_written(self) -> bool:
        return await self.unwritten() == 0


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


MakeWorker = Callable[..., Awaitable[Worker]]


@pytest.fixture
def names() -> Names:
    """A deployment that no other test uses: its collection is its own on the session's Milvus."""
    return Names("test", f"m{secrets.token_hex(6)}")


@pytest.fixture
async def worker(names: Names) -> AsyncIterator[MakeWorker]:
    """`await worker(dsn, uri, grpc)` is one more worker's memory; parts may be given instead of made."""
    made: list[Worker] = []

    async def make(
        dsn: str,
        uri: str,
        grpc: str,
        *,
        seconds: float = GENEROUS,
        embedder: Embedder | None = None,
        vectors: Vectors | None = None,
    ) -> Worker:
        database = await Database.of(dsn)
        outcomes: list[Outcome] = []
        embedder = embedder or TritonEmbedder(grpc, "embedder")
        vectors = vectors or MilvusVectors(uri, names)
        memory = StoredMemory(
            Facts(database.pool),
            embedder,
            vectors,
            seconds=seconds,
            limit=LIMIT,
            record=lambda outcome, _: outcomes.append(outcome),
        )
        one = Worker(memory, database.pool, embedder, vectors, outcomes)
        made.append(one)
        return one

    yield make
    for one in made:
        await one.stop()
        await one.memory.close()
        await one.pool.close()


@pytest.fixture
async def alone(worker: MakeWorker, database: str, milvus: servers.Milvus, triton: servers.Triton) -> Worker:
    """One worker on the session's servers, its writer not yet started."""
    return await worker(database, milvus.uri, triton.grpc)
