"""How the tools reach the parts of a running Herald: addresses from the snapshot, passwords from the state folder."""

import contextlib
from collections.abc import AsyncIterator

from nats.aio.client import Client

from herald_agent.store.migrate import read_dsn
from herald_agent.store.pool import Database
from herald_cli.quiet import hush
from herald_cli.state import Component, Snapshot, StateFolder
from herald_contracts import settings
from herald_contracts.errors import TemporaryError
from herald_contracts.subjects import Names
from herald_runtime.connection import connect, disconnect


class PartMissing(TemporaryError):
    """The part that is asked for does not run (yet)."""


def component(snapshot: Snapshot, name: str) -> Component:
    """Raises PartMissing when this Herald has no such part."""
    for found in snapshot.components:
        if found.name == name:
            return found
    raise PartMissing(f"this Herald runs no {name}")


def names(snapshot: Snapshot) -> Names:
    return Names(snapshot.namespace, snapshot.name)


def nats_settings(folder: StateFolder, snapshot: Snapshot) -> settings.Nats:
    return settings.Nats(url=component(snapshot, "nats").address, credentials=folder.credentials / "nats")


@contextlib.asynccontextmanager
async def nats(folder: StateFolder, snapshot: Snapshot, *, wait: float = 5) -> AsyncIterator[Client]:
    """A connection to its NATS. Raises Unreachable."""
    hush()
    client = await connect(nats_settings(folder, snapshot), "herald command", wait=wait)
    try:
        yield client
    finally:
        await disconnect(client)


@contextlib.asynccontextmanager
async def database(folder: StateFolder) -> AsyncIterator[Database]:
    """A small pool of connections to its PostgreSQL. Raises StoreUnavailable once it is used."""
    hush()
    db = await Database.of(read_dsn(folder.credentials / "postgres" / "dsn"), name="herald command", most=2)
    try:
        yield db
    finally:
        await db.close()
