"""The operator's own way to each deployment's NATS: streams are kept right, the rollout record is read and switched.

A connection lives for one look. What was seen counts for a while, so that a deployment at rest costs one short
connection a minute.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import nats.errors
from nats.aio.client import Client

from herald_contracts.errors import ConfigurationError, HeraldError
from herald_contracts.rollout import Rollout
from herald_contracts.subjects import Names
from herald_operator import messaging
from herald_operator.build.context import Context
from herald_operator.build.naming import digest
from herald_operator.build.nats import streams
from herald_operator.planning.observed import Messaging
from herald_runtime import rollout
from herald_runtime.connection import disconnect

_FRESH = 45.0  # seconds
_CONNECT = 3  # seconds
_LOOK = 20.0


@dataclass(frozen=True, slots=True)
class _Known:
    stamp: str
    at: float
    messaging: Messaging


class Messenger:
    """Looks and switches; remembers what it saw of each deployment."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Known] = {}

    def forget(self, key: tuple[str, str]) -> None:
        self._known.pop(key, None)

    async def look(self, context: Context, login: Mapping[str, bytes] | None, incarnation: str) -> Messaging:
        """Streams, consumers and buckets as they should be, and the record. Never raises: what is wrong is said.

        `incarnation` is another one when the servers are: then what was seen before does not count.
        """
        key = (context.owner.namespace, context.owner.name)
        wanted = streams(context)
        stamp = digest([context.nats_url, repr(wanted), incarnation])
        known = self._known.get(key)
        if known is not None and known.stamp == stamp and time.monotonic() - known.at < _FRESH:
            return known.messaging
        names = Names(*key)
        try:
            async with asyncio.timeout(_LOOK), _connected(context.nats_url, login) as client:
                changes = await messaging.ensure(client, wanted, timeout=5)
                try:
                    record, version = await rollout.read(client, names)
                except rollout.UnreadableRecord as e:
                    record, version = None, e.revision
        except ConfigurationError as e:
            return Messaging(message=str(e))
        except (HeraldError, nats.errors.Error, TimeoutError, OSError) as e:
            return Messaging(message=f"NATS at {context.nats_url} does not answer ({str(e) or type(e).__name__})")
        kept = tuple(f"{c.name}: {k}" for c in changes for k in c.kept)
        seen = Messaging(known=True, kept=kept, record=record, version=version)
        self._known[key] = _Known(stamp, time.monotonic(), seen)
        return seen

    async def switch(self, context: Context, login: Mapping[str, bytes] | None, seen: Messaging, new: Rollout) -> None:
        """Write the record, if it is still the one that was seen. Raises TemporaryError: look again."""
        key = (context.owner.namespace, context.owner.name)
        known = self._known.pop(key, None)
        try:
            async with asyncio.timeout(_LOOK), _connected(context.nats_url, login) as client:
                version = await rollout.switch(client, Names(*key), seen.version, new)
        except (nats.errors.Error, TimeoutError, OSError) as e:
            raise messaging.MessagingUnavailable(f"the record cannot be written ({type(e).__name__})") from None
        if known is not None:
            self._known[key] = replace(known, messaging=replace(seen, record=new, version=version))


@asynccontextmanager
async def _connected(url: str, login: Mapping[str, bytes] | None) -> AsyncIterator[Client]:
    client = Client()
    user, password = (login[key].decode().strip() if login else None for key in ("user", "password"))
    try:
        await client.connect(
            servers=[url],
            name="herald-operator",
            connect_timeout=_CONNECT,
            allow_reconnect=False,
            # nats-py minds the line above only once it has been connected: before, it would try sixty times.
            max_reconnect_attempts=1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]
            user=user,
            password=password,
            # Its own would log a traceback for each attempt; what is wrong is said in the status.
            error_cb=_ignore,
        )
        yield client
    finally:
        await disconnect(client)


async def _ignore(_: Exception) -> None:
    pass
