"""Bringing the vectors up to what PostgreSQL knows: new facts, lost collections, another embedding model.

Facts are the truth and vectors are derived, so everything here may be done twice and a crash anywhere is
harmless, as long as two orders are kept. A fact is marked as written after its vector is stored, never before.
And when a collection is gone, the facts are marked as unwritten before a new one is made: the other way round, a
crash in between would leave an empty collection that everybody believes to be full.

One worker writes at a time (facts.Facts.desk says how and why); the others wait for their turn.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from herald_agent.memory.choosing import next_size
from herald_agent.memory.embedding import Embedder, EmbedderRefused
from herald_agent.memory.facts import Unwritten
from herald_agent.memory.vectors import Row, Vectors
from herald_agent.steady import Backoff, Conditions, forever
from herald_runtime import logs
from herald_runtime.waking import Bell

_BATCH = 32  # facts per write
_LOOK = 1.0  # seconds: how late a fact is noticed that another worker took
_TURN = 5.0  # seconds between attempts to become the writer, and between looks whether the collection is still there
_AUDIT = 600.0  # seconds between counts of what is really in Milvus
_MOST_REFUSED = 100
log = logs.get("memory")


class Desk(Protocol):
    """facts.Desk."""

    async def unwritten(self, most: int, *, without: Sequence[str] = ()) -> list[Unwritten]: ...
    async def written(self, ids: Sequence[str], space: str) -> None: ...
    async def count(self, space: str) -> int: ...
    async def adopt(self, space: str) -> int: ...
    async def lose(self, space: str) -> int: ...


class Facts(Protocol):
    """What the writer needs of facts.Facts."""

    async def any(self) -> bool: ...
    def desk(self) -> "AbstractAsyncContextManager[Desk | None]": ...


class Writer:
    """`run` until cancelled; `ring` when there is a new fact."""

    def __init__(self, facts: Facts, embedder: Embedder, vectors: Vectors, *, turn: float = _TURN) -> None:
        self._facts = facts
        self._embedder = embedder
        self._vectors = vectors
        self._turn = turn
        self._bell = Bell(_LOOK)
        self._size = 1
        self._refused: set[str] = set()

    def ring(self) -> None:
        self._bell.ring()

    async def run(self) -> None:
        """Write vectors whenever it is this worker's turn. Temporary failures are waited out."""
        await forever("vectors of facts", self._once, Conditions(), backoff=Backoff(first=0.2, most=self._turn))

    async def _once(self) -> None:
        if not await self._facts.any():
            # Nothing was ever remembered here: then nothing of Milvus is loaded either.
            await self._bell.wait()
            return
        # Also when another worker writes: this one's recall searches, and must not wait for a connection then.
        await self._vectors.connect()
        async with self._facts.desk() as desk:
            if desk is not None:
                await self._write_for_a_while(desk)
                return
        await asyncio.sleep(self._turn)

    async def _write_for_a_while(self, desk: Desk) -> None:
        """Returns when it is time to look at the whole again: another embedder, a lost collection, an audit."""
        space = await self._set_up(desk)
        audit = time.monotonic() + _AUDIT
        look = time.monotonic() + self._turn
        while time.monotonic() < audit:
            facts = await desk.unwritten(_BATCH, without=tuple(self._refused))
            if facts:
                rows = await self._rows(facts, space)
                if rows is None:
                    return
                if rows:
                    await self._vectors.write(space, rows)
                    await desk.written([row.id for row in rows], space)
                continue
            await self._bell.wait()
            if time.monotonic() > look:
                look = time.monotonic() + self._turn
                if not await self._vectors.exists(space):
                    return

    async def _set_up(self, desk: Desk) -> str:
        """The embedder's space, with a collection that holds, or will hold, every fact marked so."""
        self._refused.clear()
        probe = await self._embedder.embed(["."], query=False)
        space = probe.space
        if adopted := await desk.adopt(space):
            log.info("another embedder, its vectors are written now", space=space, facts=adopted)
        marked = await desk.count(space)
        held = await self._vectors.count(space) if await self._vectors.exists(space) else 0
        if held < marked:
            log.warning("vectors were lost, they are written again", space=space, facts=marked, found=held)
            await desk.lose(space)
        await self._vectors.prepare(space, len(probe.vectors[0]))
        return space

    async def _rows(self, facts: Sequence[Unwritten], space: str) -> list[Row] | None:
        """The facts with their vectors, without those that the embedder fails on; None when it has changed."""
        rows: list[Row] = []
        rest = list(facts)
        while rest:
            some = rest[: self._size]
            began = time.monotonic()
            try:
                embedded = await self._embedder.embed([fact.text for fact in some], query=False)
            except EmbedderRefused as e:
                if len(some) > 1:
                    self._size = 1  # find out which one it is
                    continue
                self._set_aside(some[0], e)
                del rest[0]
                continue
            if embedded.space != space:
                return None
            self._size = next_size(len(some), time.monotonic() - began)
            rows += [
                Row(fact.id, fact.user_key, fact.created_at, vector)
                for fact, vector in zip(some, embedded.vectors, strict=True)
            ]
            del rest[: len(some)]
        return rows

    def _set_aside(self, fact: Unwritten, error: EmbedderRefused) -> None:
        """One text that cannot be embedded must not hold up all others; it is tried again at the next audit."""
        if len(self._refused) >= _MOST_REFUSED:
            raise error  # not the texts, then
        self._refused.add(fact.id)
        log.warning("a fact could not be embedded", fact=fact.id, problem=str(error))
