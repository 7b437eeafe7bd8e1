"""The connection to NATS: never gives up, says so when it is lost, and buffers nothing that needs an answer."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import nats
from nats.aio.client import Client

from herald_contracts.errors import ConfigurationError, TemporaryError
from herald_contracts.settings import Nats
from herald_runtime import logs
from herald_runtime.secrets import SecretFolder

log = logs.get("nats")


class Unreachable(TemporaryError):
    """NATS does not answer."""


class _Client(Client):
    """nats-py's, but for one thing: it talks plain to a server that asks for no TLS, also where the URL says tls."""

    demands_tls = False

    def _connect_command(self) -> bytes:
        # The first thing we send, password included.
        if self.demands_tls and not self._server_info.get("tls_required"):
            raise nats.errors.Error("the server offers no TLS")
        return super()._connect_command()


async def connect(settings: Nats, name: str, *, wait: float = 30) -> Client:
    """Connect, waiting up to `wait` seconds for the server to come up. Raises Unreachable, or ConfigurationError.

    Once connected, it reconnects for ever: nats-py's own default gives up after 60 tries and closes. User and
    password are read again for each attempt, so a rotation needs no restart; a new CA does need one.
    """

    async def lost() -> None:
        if not client.is_closed:  # closing it ourselves is no loss
            log.warning("connection lost, reconnecting")

    async def back() -> None:
        log.info("connected again")

    async def failed(error: Exception) -> None:
        log.debug("client error", error=type(error).__name__)

    folder = SecretFolder(settings.credentials) if settings.credentials is not None else None
    secure = settings.ca is not None or settings.url.startswith("tls://")
    trusted = _trusted(settings.ca) if secure else None
    client = _Client()
    client.demands_tls = secure
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
                user=_current(folder, "user") if folder else None,
                password=_current(folder, "password") if folder else None,
                tls=trusted,
            )
    except (OSError, nats.errors.Error, TimeoutError) as e:
        problem = client.last_error or e
        await client.close()
        # What the server said, such as a refused password; never what we said to it.
        said = f": {problem}" if isinstance(problem, nats.errors.Error | ssl.SSLError) else ""
        raise Unreachable(f"no NATS at {settings.url} ({type(problem).__name__}{said})") from None
    return client


def _current(folder: SecretFolder, key: str) -> Callable[[], str]:
    """What the key holds at the time of asking. Raises ConfigurationError now, and later goes on with what it had."""
    known = folder.get(key).decode()

    def ask() -> str:
        nonlocal known
        try:
            known = folder.get(key).decode()
        except (ConfigurationError, OSError, UnicodeDecodeError) as e:
            # Raised in the client's own task, it would end the reconnecting for good.
            log.warning("the last known credentials count", problem=str(e))
        return known

    return ask


def _trusted(ca: Path | None) -> ssl.SSLContext:
    """Verifies the server's certificate and name, by `ca` alone or else by the system's. Raises ConfigurationError."""
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as e:
        raise ConfigurationError(
            f"no CA certificate can be read ({type(e).__name__})", path=f"nats.ca {ca}", hint="a PEM file is needed"
        ) from None


async def disconnect(client: Client) -> None:
    """Close the connection, also one whose server is gone: there is nothing left to lose then.

    nats-py still writes what is pending, onto a broken socket: that raises what broke it, or uvloop's complaint
    that the socket is closed.
    """
    try:
        await client.close()
    except (OSError, RuntimeError, nats.errors.Error) as e:
        log.debug("closed a broken connection", error=type(e).__name__)
