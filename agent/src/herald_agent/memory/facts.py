"""Facts in PostgreSQL: the truth of memory. Vectors are derived from them and may be lost at any time.

A fact's `embedder` names the vector space in which its vector is stored (embedding.py), NULL while it is in none.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, class_row
from psycopg_pool import AsyncConnectionPool

from herald_agent.errors import from_store
from herald_agent.memory.choosing import checked, tidy
from herald_agent.memory.ports import Fact
from herald_agent.store.pool import Database, give_back
from herald_contracts.identity import fact_id

Pool = AsyncConnectionPool[AsyncConnection[Any]]

# The first key is Herald's own for locks of memory, the second says which: the writer of vectors.
_LOCK: LiteralString = "SELECT pg_try_advisory_lock(1212501068, 1)"
# A worker whose machine died says no goodbye: without this the server would keep its lock for two hours.
_KEEPALIVE: LiteralString = (
    "SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),"
    " set_config('tcp_keepalives_count', '3', false)"
)
_ROWS_PER_UPDATE = 5_000


@dataclass(frozen=True, slots=True)
class Seen:
    """A fact as recall reads it. `fresh`: its vector may not be searchable yet."""

    id: str
    text: str
    created_at: datetime
    fresh: bool

    def fact(self) -> Fact:
        return Fact(self.id, self.text, self.created_at)


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A fact without a vector."""

    id: str
    user_key: str
    text: str
    created_at: datetime


class Facts:
    """Reads and writes one deployment's facts. Every method raises StoreUnavailable or StoreRefused."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._database = Database(pool)

    async def add(self, user_key: str, text: str, turn: str) -> Fact:
        """The fact `text` of this user, old or new; durable. Raises FactRefused."""
        kept = tidy(text)
        return await self._database.one(
            Fact,
            # The update that changes nothing makes a conflict return the row, also one that another worker
            # committed after this statement began.
            """
            INSERT INTO facts (id, user_key, text, turn)
            VALUES (%(id)s, %(user_key)s, %(text)s, %(turn)s)
            ON CONFLICT (id) DO UPDATE SET user_key = facts.user_key
            RETURNING id, text, created_at
            """,
            {"id": fact_id(checked(user_key), kept), "user_key": user_key, "text": kept, "turn": turn},
        )

    async def newest(self, user_key: str, most: int) -> list[Fact]:
        """The user's newest facts, newest first."""
        return await self._database.rows(
            Fact,
            """
            SELECT id, text, created_at FROM facts
            WHERE user_key = %(user_key)s ORDER BY created_at DESC, id DESC LIMIT %(most)s
            """,
            {"user_key": checked(user_key), "most": most},
        )

    async def gather(self, user_key: str, ids: Sequence[str], space: str, most_fresh: int) -> list[Seen]:
        """The texts of those `ids` that are this user's, and the newest facts that a search may not find yet.

        Those are facts without a vector in `space`, and those of the last ten seconds: a Milvus cluster shows a new
        vector only after its staleness bound. Looked for among the newest hundred, which bounds the cost.
        """
        return await self._database.rows(
            Seen,
            """
            WITH newest AS (
                SELECT id, text, created_at, embedder FROM facts
                WHERE user_key = %(user_key)s ORDER BY created_at DESC, id DESC LIMIT 100
            ), fresh AS (
                SELECT id, text, created_at FROM newest
                WHERE embedder IS DISTINCT FROM %(space)s OR created_at > now() - interval '10 seconds'
                ORDER BY created_at DESC, id DESC LIMIT %(most_fresh)s
            )
            SELECT id, text, created_at, true AS fresh FROM fresh
            UNION ALL
            SELECT id, text, created_at, false FROM facts WHERE user_key = %(user_key)s AND id = ANY(%(ids)s)
            """,
            {"user_key": checked(user_key), "ids": list(ids), "space": space, "most_fresh": most_fresh},
        )

    async def any(self) -> bool:
        """Whether there is any fact at all."""
        return bool(await self._database.value("SELECT EXISTS (SELECT FROM facts)"))

    @contextlib.asynccontextmanager
    async def desk(self) -> AsyncIterator["Desk | None"]:
        """The right to write vectors; None while another worker has it. One desk per database, so per collection.

        Why an advisory lock and not a lease row: two writers at once can corrupt a collection of Milvus Lite, and
        Milvus cannot tell a stale writer from the true one. A lease runs out under a stopped worker that may
        then wake up in the middle of a write; this lock lives exactly as long as the session in which the holder
        reads what to write next. So a stopped worker holds up the vectors (facts are recalled without them,
        newest first) but never writes beside another. It needs real sessions: behind a pooler, session mode.
        """
        try:
            connection = await self._pool.getconn()
        except psycopg.Error as e:
            raise from_store(e) from None
        ours = True
        try:
            try:
                row = await (await connection.execute(_LOCK)).fetchone()
                ours = row is not None and bool(row[0])
                if ours:
                    await connection.execute(_KEEPALIVE)
            except psycopg.Error as e:
                raise from_store(e) from None
            yield Desk(connection) if ours else None
        finally:
            if ours:
                # The end of the session is what gives up the lock, whatever happened before.
                await connection.close()
            await give_back(self._pool, connection)


class Desk:
    """What the one writer does to facts. Every call proves that the lock is still held: it runs in its session."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def unwritten(self, most: int, *, without: Sequence[str] = ()) -> list[Unwritten]:
        """The oldest facts that have no vector, except those of `without`."""
        try:
            async with self._connection.cursor(row_factory=class_row(Unwritten)) as cursor:
                await cursor.execute(
                    """
                    SELECT id, user_key, text, created_at FROM facts
                    WHERE embedder IS NULL AND id <> ALL(%(without)s) ORDER BY created_at LIMIT %(most)s
                    """,
                    {"most": most, "without": list(without)},
                )
                return await cursor.fetchall()
        except psycopg.Error as e:
            raise from_store(e) from None

    async def written(self, ids: Sequence[str], space: str) -> None:
        """The vectors of these facts are stored in `space`."""
        await self._run(
            "UPDATE facts SET embedder = %(space)s WHERE id = ANY(%(ids)s)", {"space": space, "ids": list(ids)}
        )

    async def count(self, space: str) -> int:
        """How many facts have their vector in `space`."""
        cursor = await self._run("SELECT count(*) FROM facts WHERE embedder = %(space)s", {"space": space})
        row = await cursor.fetchone()
        return int(row[0]) if row is not None else 0

    async def adopt(self, space: str) -> int:
        """Facts whose vector is in another space than `space` have none from now on; how many there were."""
        return await self._forget(
            """
            UPDATE facts SET embedder = NULL WHERE id IN (
                SELECT id FROM facts WHERE embedder IS NOT NULL AND embedder <> %(space)s LIMIT %(portion)s)
            """,
            space,
        )

    async def lose(self, space: str) -> int:
        """Facts whose vector was in `space` have none from now on; how many there were."""
        return await self._forget(
            """
            UPDATE facts SET embedder = NULL WHERE id IN (
                SELECT id FROM facts WHERE embedder = %(space)s LIMIT %(portion)s)
            """,
            space,
        )

    async def _forget(self, statement: LiteralString, space: str) -> int:
        total = 0
        while True:
            # In portions, so that no statement runs into its time limit however many facts there are.
            cursor = await self._run(statement, {"space": space, "portion": _ROWS_PER_UPDATE})
            total += cursor.rowcount
            if cursor.rowcount < _ROWS_PER_UPDATE:
                return total

    async def _run(self, statement: LiteralString, params: dict[str, Any]) -> psycopg.AsyncCursor[TupleRow]:
        try:
            return await self._connection.execute(statement, params)
        except psycopg.Error as e:
            raise from_store(e) from None
