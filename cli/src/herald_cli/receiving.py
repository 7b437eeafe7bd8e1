"""The other end of a signed channel: takes replies on the channel's own replyURL, as somebody's server would.

Only where that address is this machine's and free: otherwise the replies go where they belong.
"""

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web

from herald_cli.ports import is_free
from herald_cli.signing import Client

_HOSTS = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}
_MOST_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply whose signature was checked."""

    id: str
    event: str
    kind: str
    text: str


class Receiver:
    """Listens while it is entered. `replies` are the genuine ones; others are refused and counted."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.replies: asyncio.Queue[Reply] = asyncio.Queue()
        self.forged = 0
        self._runner: web.AppRunner | None = None

    @staticmethod
    def possible(client: Client) -> bool:
        """Whether we can be the one who listens there."""
        url = urlsplit(client.reply_url)
        host = _HOSTS.get(url.hostname or "")
        return url.scheme == "http" and host is not None and is_free(url.port or 80, host)

    async def __aenter__(self) -> Self:
        url = urlsplit(self._client.reply_url)
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_post(url.path or "/", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOSTS[url.hostname or ""], url.port or 80, reuse_address=True).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if not self._client.genuine(headers, body):
            self.forged += 1
            return web.Response(status=401)
        try:
            value: dict[str, Any] = json.loads(body)
            reply = Reply(str(value["id"]), str(value["event"]), str(value["kind"]), str(value["text"]))
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400)
        self.replies.put_nowait(reply)
        return web.Response(status=204)
