"""The connection to NATS: never gives up, says so when it is lost, and buffers nothing that needs an answer."""

import asyncio

import nats
from nats.aio.client import Client

from herald_contracts.errors import TemporaryError
from herald_contracts.settings import Nats
from herald_runtime import logs
from herald_runtime.secrets import SecretFolder

log = logs.get("nats")


class Unreachable(TemporaryError):
    """NATS does not answer."""


async def connect(settings: Nats, name: str, *, wait: float = 30) -> Client:
    """Connect, waiting up to `wait` seconds for the server to come up. Raises Unreachable.

    Once connected, it reconnects for ever: nats-py's own default gives up after 60 tries and closes.
    """

    async def lost() -> None:
        if not client.is_closed:  # closing it ourselves is no loss
            log.warning("connection lost, reconnecting")

    async def back() -> None:
        log.info("connected again")

    async def failed(error: Exception) -> None:
        log.debug("client error", error=type(error).__name__)

    folder = SecretFolder(settings.credentials) if settings.credentials is not None else None
    client = Client()
    # Without a bound of its own, the first connect would try for ever too.
    try:
        async with asyncio.timeout(wait):
            await client.connect(
                servers=[settings.url],
                name=name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=1,
                connect_timeout=2,
                ping_interval=5,
                max_outstanding_pings=2,
                allow_reconnect=True,
                disconnected_cb=lost,
                reconnected_cb=back,
                error_cb=failed,
                inbox_prefix=b"_INBOX",
                user=folder.get("user").decode() if folder else None,
                password=folder.get("password").decode() if folder else None,
            )
    except (OSError, nats.errors.Error, TimeoutError) as e:
        await client.close()
        raise Unreachable(f"no NATS at {settings.url} ({type(e).__name__})") from None
    return client


async def disconnect(client: Client) -> None:
    """Close the connection, also one whose server is gone: there is nothing left to lose then.

    nats-py still writes what is pending, onto a broken socket: that raises what broke it, or uvloop's complaint
    that the socket is closed.
    """
    try:
        await client.close()
    except (OSError, RuntimeError, nats.errors.Error) as e:
        log.debug("closed a broken connection", error=type(e).__name__)
