"""Stand-ins for the three servers behind memory, each with the faults that the real one has."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from herald_agent.memory.embedding import Embedded, EmbedderRefused, Vector
from herald_agent.memory.facts import Seen, Unwritten
from herald_agent.memory.ports import Fact
from herald_agent.memory.vectors import CollectionMissing, Row

START = datetime(2026, 1, 1, tzinfo=UTC)


class Embedder:
    """Words hashed into 64 places: alike texts get alike vectors."""

    def __init__(self, space: str = "m-1-64") -> None:
        self.space = space
        self.calls: list[tuple[str, ...]] = []
        self.refuses: set[str] = set()
        self.error: Exception | None = None
        self.hang: asyncio.Event | None = None

    async def embed(self, texts: Sequence[str], *, query: bool) -> Embedded:
        self.calls.append(tuple(texts))
        if self.hang is not None:
            await self.hang.wait()
        if self.error is not None:
            raise self.error
        if self.refuses & set(texts):
            raise EmbedderRefused("StatusCode.INTERNAL")
        return Embedded(self.space, tuple(_vector(text) for text in texts))

    async def close(self) -> None: ...


def _vector(text: str) -> Vector:
    vector = [0.0] * 64
    for word in text.lower().split():
        vector[hashlib.sha256(word.encode()).digest()[0] % 64] += 1.0
    return vector


class Vectors:
    """Collections in memory. `trace` is shared with Facts, so that tests see one order of all writes."""

    def __init__(self, trace: list[str]) -> None:
        self.trace = trace
        self.collections: dict[str, dict[str, Row]] = {}
        self.error: Exception | None = None
        self.connected = 0

    async def connect(self) -> None:
        self.connected += 1
        self._fail()

    async def exists(self, space: str) -> bool:
        self._fail()
        return space in self.collections

    async def prepare(self, space: str, dimension: int) -> None:
        self._fail()
        self.trace.append("prepare")
        self.collections.setdefault(space, {})

    async def count(self, space: str) -> int:
        return len(self._of(space))

    async def write(self, space: str, rows: Sequence[Row]) -> None:
        self.trace.append("write")
        self._of(space).update({row.id: row for row in rows})

    async def search(self, space: str, user_key: str, vector: Vector, limit: int) -> list[str]:
        mine = [row for row in self._of(space).values() if row.user_key == user_key]
        mine.sort(key=lambda row: sum(a * b for a, b in zip(row.vector, vector, strict=True)), reverse=True)
        return [row.id for row in mine[:limit]]

    async def close(self) -> None: ...

    def _of(self, space: str) -> dict[str, Row]:
        self._fail()
        if space not in self.collections:
            raise CollectionMissing(space)
        return self.collections[space]

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


@dataclass
class Known:
    id: str
    user_key: str
    text: str
    created_at: datetime
    embedder: str | None = None

    def fact(self) -> Fact:
        return Fact(self.id, self.text, self.created_at)


@dataclass
class Facts:
    """The table of facts, and the desk of its one writer."""

    trace: list[str] = field(default_factory=list)
    rows: list[Known] = field(default_factory=list)
    taken: bool = False
    failing: dict[str, Exception] = field(default_factory=dict)
    failures: int = 0

    def add(self, user_key: str, *texts: str, embedder: str | None = None) -> list[Known]:
        new = [
            Known(f"f{len(self.rows) + i}", user_key, text, START + timedelta(seconds=len(self.rows) + i), embedder)
            for i, text in enumerate(texts)
        ]
        self.rows += new
        return new

    async def newest(self, user_key: str, most: int) -> list[Fact]:
        self._fail("newest")
        return [one.fact() for one in reversed(self.rows) if one.user_key == user_key][:most]

    async def gather(self, user_key: str, ids: Sequence[str], space: str, most_fresh: int) -> list[Seen]:
        self._fail("gather")
        mine = [one for one in reversed(self.rows) if one.user_key == user_key]
        fresh = [one for one in mine if one.embedder != space][:most_fresh]
        return [
            *(Seen(one.id, one.text, one.created_at, fresh=True) for one in fresh),
            *(Seen(one.id, one.text, one.created_at, fresh=False) for one in mine if one.id in ids),
        ]

    async def any(self) -> bool:
        self._fail("any")
        return bool(self.rows)

    @contextlib.asynccontextmanager
    async def desk(self) -> AsyncIterator["Facts | None"]:
        yield None if self.taken else self

    async def unwritten(self, most: int, *, without: Sequence[str] = ()) -> list[Unwritten]:
        self._fail("unwritten")
        waiting = [one for one in self.rows if one.embedder is None and one.id not in without]
        return [Unwritten(one.id, one.user_key, one.text, one.created_at) for one in waiting[:most]]

    async def written(self, ids: Sequence[str], space: str) -> None:
        self._fail("written")
        self.trace.append("written")
        for one in self.rows:
            if one.id in ids:
                one.embedder = space

    async def count(self, space: str) -> int:
        return sum(one.embedder == space for one in self.rows)

    async def adopt(self, space: str) -> int:
        return self._forget([one for one in self.rows if one.embedder not in (None, space)], "adopt")

    async def lose(self, space: str) -> int:
        return self._forget([one for one in self.rows if one.embedder == space], "lose")

    def _forget(self, which: list[Known], step: str) -> int:
        if which:
            self.trace.append(step)
        for one in which:
            one.embedder = None
        return len(which)

    def _fail(self, step: str) -> None:
        if step in self.failing:
            self.failures += 1
            raise self.failing[step]
