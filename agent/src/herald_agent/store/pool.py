"""The way to PostgreSQL: a pool that outlives every outage, and one call that runs one statement.

Autocommit and one statement per call: the statement is the transaction. Nothing here tries again by itself,
because only the caller knows whether a second run means the same; steady.py is what callers use for that.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, LiteralString, Self, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from herald_agent.errors import StoreRefused, from_store
from herald_agent.store.migrate import read_dsn
from herald_contracts import settings

T = TypeVar("T")
Lent = TypeVar("Lent", bound=AsyncConnection[Any])
Params = Mapping[str, Any]

# The pool doubles its pause between attempts up to this long and then begins again, so that a database which comes
# back is found within about this many seconds. Its own default is five minutes.
_RECONNECT = 2.0
_CONNECTION = {
    "autocommit": True,
    "prepare_threshold": 0,  # prepare at the first use: the statements are few and used for ever
    "connect_timeout": 5,
    # A peer that vanished without a word (a node lost power) is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "options": "-c statement_timeout=30000 -c lock_timeout=10000 -c timezone=UTC",
}


@contextlib.asynccontextmanager
async def lent(pool: AsyncConnectionPool[Lent]) -> AsyncIterator[Lent]:
    """A connection of `pool`, given back whatever happens."""
    connection = await pool.getconn()
    try:
        yield connection
    finally:
        await give_back(pool, connection)


async def give_back(pool: AsyncConnectionPool[Lent], connection: Lent) -> None:
    """psycopg_pool 3.3 loses a connection whose user is cancelled meanwhile, as recall often is: so this goes on."""
    await asyncio.shield(pool.putconn(connection))


class Database:
    """Runs statements. Every method raises StoreUnavailable (temporary) or StoreRefused (permanent)."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[Any]]) -> None:
        self.pool = pool
        self._healing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, database: settings.Database, *, name: str = "herald-agent") -> Self:
        """A pool as the settings say; returns at once, whether or not PostgreSQL answers.

        The connection string is read anew for each connection, so that a rotated password needs no restart.
        """
        read_dsn(database.dsn_file)  # an unreadable file is refused now, not at the first message
        return await cls._open(
            _DsnFile(database.dsn_file),
            name=name,
            min_size=database.pool_min,
            max_size=max(database.pool_max, database.pool_min),
            max_lifetime=database.pool_max_lifetime,
            timeout=database.pool_wait,
        )

    @classmethod
    async def of(cls, dsn: str, *, name: str = "herald", most: int = 4) -> Self:
        """A small pool for a tool or a test."""
        return await cls._open(dsn, name=name, min_size=1, max_size=most, max_lifetime=1_800, timeout=30)

    @classmethod
    async def _open(cls, conninfo: "str | _DsnFile", *, name: str, **sizes: Any) -> Self:
        # Each failed attempt would be a line; who uses the pool logs when an outage begins and when it ends.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
            conninfo,
            open=False,
            kwargs={**_CONNECTION, "application_name": name},
            reconnect_timeout=_RECONNECT,
            reconnect_failed=_grow,
            name=name,
            **sizes,
        )
        await pool.open()
        return cls(pool)

    async def rows(self, row: type[T], statement: LiteralString, params: Params) -> list[T]:
        """Run `statement`; each row becomes a `row`, whose fields are named like the columns."""
        try:
            async with lent(self.pool) as connection, connection.cursor(row_factory=class_row(row)) as cursor:
                await cursor.execute(statement, params)
                return await cursor.fetchall()
        except psycopg.Error as e:
            raise self._mapped(e) from None

    async def one(self, row: type[T], statement: LiteralString, params: Params) -> T:
        """The only row of a statement that always has exactly one."""
        found = await self.rows(row, statement, params)
        if len(found) != 1:
            raise StoreRefused(f"{len(found)} rows where one was expected")
        return found[0]

    async def values(self, statement: LiteralString, params: Params | None = None) -> list[Any]:
        """The first column of each row."""
        try:
            async with lent(self.pool) as connection:
                cursor = await connection.execute(statement, params)
                return [row[0] for row in await cursor.fetchall()]
        except psycopg.Error as e:
            raise self._mapped(e) from None

    async def value(self, statement: LiteralString, params: Params | None = None) -> Any:
        """The first column of the first row, None without one."""
        found = await self.values(statement, params)
        return found[0] if found else None

    async def close(self) -> None:
        if self._healing is not None:
            self._healing.cancel()
            await asyncio.gather(self._healing, return_exceptions=True)
        await self.pool.close()

    def _mapped(self, error: psycopg.Error) -> Exception:
        mapped = from_store(error)
        # When one connection broke the others most likely did too: have them looked at now, instead of handing out
        # each of them to a caller who then fails.
        if mapped.retryable and (self._healing is None or self._healing.done()):
            self._healing = asyncio.create_task(self.pool.check(), name="check the pool")
        return mapped


class _DsnFile:
    """Read at each connection. The pool shows its `conninfo` in error texts: this shows a path and no password."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self) -> str:
        return read_dsn(self._file)


async def _grow(pool: AsyncConnectionPool[Any]) -> None:
    # An attempt was given up: `check` also starts a new one where connections are missing.
    if not pool.closed:
        await pool.check()
