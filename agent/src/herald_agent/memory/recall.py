"""Recall inside a turn: a fixed time, then the turn goes on without it.

What is still running when the time is up is cancelled but not waited for, because a cancel can take long itself
(psycopg asks a stopped server to stop for seconds). So that such leavings cannot pile up while a server hangs,
there is a bound on them; at the bound, recall is skipped without trying.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from herald_agent.memory.choosing import checked, choose, gist
from herald_agent.memory.embedding import Embedder
from herald_agent.memory.facts import Seen
from herald_agent.memory.ports import Fact
from herald_agent.memory.vectors import Vectors
from herald_agent.steady import Conditions
from herald_contracts import telemetry
from herald_contracts.errors import HeraldError
from herald_runtime import logs, metrics

Outcome = Literal["hit", "empty", "skipped", "failed"]
Record = Callable[[Outcome, float], None]
"""Called once per recall with how it ended and how many seconds it took."""

_MOST_LATE = 16
log = logs.get("memory")

_meter = metrics.meter("herald.agent.memory")
_recalls = _meter.create_counter(telemetry.RECALL, description="recalls by outcome")
_duration = _meter.create_histogram(telemetry.RECALL_SECONDS, unit="s", description="time a turn spent on recall")


def record(outcome: Outcome, seconds: float) -> None:
    """Count a recall where operators look."""
    _recalls.add(1, {"outcome": outcome})
    _duration.record(seconds)


class Facts(Protocol):
    """What recall needs of facts.Facts."""

    async def newest(self, user_key: str, most: int) -> list[Fact]: ...
    async def gather(self, user_key: str, ids: Sequence[str], space: str, most_fresh: int) -> list[Seen]: ...


class Recall:
    """`seconds` for everything, `limit` facts at most."""

    def __init__(
        self,
        facts: Facts,
        embedder: Embedder,
        vectors: Vectors,
        *,
        seconds: float,
        limit: int,
        record: Record = record,
    ) -> None:
        self._facts = facts
        self._embedder = embedder
        self._vectors = vectors
        self._seconds = seconds
        self._limit = limit
        self._record = record
        self._conditions = Conditions()
        self._late: set[asyncio.Task[tuple[Fact, ...]]] = set()

    async def recall(self, user_key: str, text: str) -> tuple[Fact, ...]:
        """As Memory.recall."""
        checked(user_key)
        began = time.monotonic()
        outcome: Outcome = "skipped"
        facts: tuple[Fact, ...] = ()
        if len(self._late) < _MOST_LATE:
            task = asyncio.create_task(self._look(user_key, text), name="recall")
            try:
                await asyncio.wait({task}, timeout=self._seconds)
            finally:
                if not task.done():
                    self._leave(task)
            if task.done():
                try:
                    facts = task.result()
                except HeraldError as e:
                    outcome = "failed"
                    self._conditions.failed("recall", e)
                else:
                    outcome = "hit" if facts else "empty"
                    self._conditions.worked("recall")
        self._record(outcome, time.monotonic() - began)
        return facts

    async def close(self) -> None:
        """End what is still running, waiting a few seconds at most."""
        if self._late:
            await asyncio.wait(set(self._late), timeout=5)

    async def _look(self, user_key: str, text: str) -> tuple[Fact, ...]:
        newest = await self._facts.newest(user_key, self._limit + 1)
        query = gist(text, self._seconds)
        if len(newest) <= self._limit or not query:
            return tuple(newest[: self._limit])
        embedded = await self._embedder.embed([query], query=True)
        # More than needed: an id whose fact is gone from PostgreSQL must not take the place of one that is there.
        ids = await self._vectors.search(embedded.space, user_key, embedded.vectors[0], 2 * self._limit)
        seen = await self._facts.gather(user_key, ids, embedded.space, self._limit)
        found = {one.id: one.fact() for one in seen if not one.fresh}
        return choose(
            (one.fact() for one in seen if one.fresh),
            [found[one] for one in ids if one in found],
            self._limit,
        )

    def _leave(self, task: "asyncio.Task[tuple[Fact, ...]]") -> None:
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        # Nobody will ask how it ended, and an error nobody asks about is a warning at exit.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        task.cancel()
