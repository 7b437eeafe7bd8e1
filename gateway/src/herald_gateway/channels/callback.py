"""Posting a reply to somebody's HTTP endpoint, and what its answer means.

The contract for whoever receives: 2xx is "I have it", a 5xx other than 504 or one of 408, 425, 429 is "I do not
have it, try again", anything else is "never". A connection that breaks after the request went out says nothing.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Literal

import aiohttp
from yarl import URL

from herald_contracts.errors import ConfigurationError
from herald_gateway.channels.base import ChannelContext, ChannelDown, SendUnknown, Undeliverable

# Connecting includes the wait for a free connection: until it is over, nothing has been sent.
_TIMEOUT = aiohttp.ClientTimeout(total=20, connect=5)
_READ_BYTES = 65_536
_READ_SECONDS = 1.0
_MOST_RETRY_AFTER = 3_600
_NOT_NOW = frozenset((408, 425, 429))
_GATEWAY_TIMEOUT = 504
# Nothing that the answer says is used, so there is nothing to unpack.
_HEADERS = {"Content-Type": "application/json", "User-Agent": "herald-gateway", "Accept-Encoding": "identity"}


def judge(status: int, retry_after: str | None = None) -> None:
    """Return for a status that means "taken"; else raise ChannelDown, SendUnknown or Undeliverable."""
    if 200 <= status < 300:
        return
    if status == _GATEWAY_TIMEOUT:
        # Somebody in between passed it on and heard nothing back.
        raise SendUnknown("HTTP 504")
    if status in _NOT_NOW or 500 <= status < 600:
        raise ChannelDown(f"HTTP {status}", retry_after=seconds(retry_after))
    if status == 410:
        raise Undeliverable("HTTP 410: the receiver wants no more replies")
    raise Undeliverable(f"HTTP {status}")


def seconds(retry_after: str | None) -> float | None:
    """Retry-After in whole seconds, at most an hour; None for anything else, dates included."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()) or len(retry_after) > 9:
        return None
    return float(min(int(retry_after), _MOST_RETRY_AFTER))


class Callback:
    """One receiver's URL."""

    def __init__(self, url: str, on_unknown: Literal["resend", "hold"]) -> None:
        """Raises ConfigurationError for a URL that cannot be posted to."""
        try:
            self._url = URL(url)
        except ValueError:
            raise ConfigurationError("not a URL", path="reply_url") from None
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ConfigurationError("not an http(s) URL", path="reply_url")
        self._hold = on_unknown == "hold"
        self._session: aiohttp.ClientSession | None = None

    async def start(self, context: ChannelContext) -> None:
        if self._hold:
            # A kept connection may be closed by the other side just as we use it, which leaves the outcome unknown.
            # Where an unknown outcome is not repeated, each reply gets a connection of its own.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True), cookie_jar=aiohttp.DummyCookieJar()
            )
        else:
            self._session = context.http

    async def stop(self) -> None:
        if self._hold and self._session is not None:
            await self._session.close()
        self._session = None

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Returns when the receiver has taken it. Raises ChannelDown, SendUnknown or Undeliverable."""
        if self._session is None:
            raise ChannelDown("not started")
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers={**_HEADERS, **headers},
                allow_redirects=False,
                timeout=_TIMEOUT,
            ) as response:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    # Only so that the connection can be used again; what it says has no meaning.
                    async with asyncio.timeout(_READ_SECONDS):
                        await response.content.read(_READ_BYTES)
                judge(response.status, response.headers.get("Retry-After"))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as e:
            raise ChannelDown(type(e).__name__) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as e:
            raise SendUnknown(type(e).__name__) from None
