"""Between an operator and the API server: counts what it writes, and misbehaves when told to.

TLS on both sides; the operator trusts the proxy's own authority. Requests go on as they are, bearer token included.
"""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from tools.cluster import Cluster
from tools.cluster.pki import Authority

from herald_cli.ports import Ports

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOP = frozenset({"host", "connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    path: str
    watch: bool = False

    @property
    def writes(self) -> bool:
        """Whether it changes something that matters here: not the Lease, not an Event."""
        return self.method in WRITES and "/leases" not in self.path and "/events" not in self.path

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


Before = Callable[[Call], Awaitable[web.Response | None]]
After = Callable[[Call], Awaitable[None]]


async def _pass(_: Call) -> web.Response | None:
    return None


async def _nothing(_: Call) -> None:
    return None


@dataclass
class Proxy:
    """`before` may answer in the API server's place; `after` runs once it has answered and we have not.

    While `open` is cleared, events of watches wait, in order, and no new request is sent on.
    """

    url: str
    authority: str
    calls: list[Call] = field(default_factory=list)
    before: Before = _pass
    after: After = _nothing
    open: asyncio.Event = field(default_factory=asyncio.Event)
    watches_open: asyncio.Event = field(default_factory=asyncio.Event)
    _watches: set[asyncio.Event] = field(default_factory=set)

    def writes(self) -> list[Call]:
        return [call for call in self.calls if call.writes]

    def counted(self) -> Counter[str]:
        """For a person who wonders what was written."""
        return Counter(str(call) for call in self.writes())

    async def drop_watches(self) -> None:
        """As a load balancer that has had enough."""
        ending = set(self._watches)
        for over in ending:
            over.set()
        # A handler that went on would keep the connection, on which the operator asks anew, waiting.
        while ending & self._watches:
            await asyncio.sleep(0.01)

    def restore(self) -> None:
        """Behave again."""
        self.before, self.after = _pass, _nothing
        self.open.set()
        self.watches_open.set()


@contextlib.asynccontextmanager
async def proxy(cluster: Cluster, folder: Path) -> AsyncIterator[Proxy]:
    """Listens until the block ends."""
    port = Ports().pick()
    authority = Authority(folder / "proxy", "proxy")
    pair = authority.issue("server", "proxy", names=["127.0.0.1"])
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(pair.certificate, pair.key)
    made = Proxy(f"https://127.0.0.1:{port}", authority.certificate.read_text())
    made.restore()
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(cluster.ca)), limit=0)
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
    ) as http:

        async def handle(request: web.Request) -> web.StreamResponse:
            return await _carry(made, http, cluster.server, request)

        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{rest:.*}", handle)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=serving).start()
        try:
            yield made
        finally:
            made.restore()
            await runner.cleanup()


async def _carry(proxy_: Proxy, http: aiohttp.ClientSession, server: str, request: web.Request) -> web.StreamResponse:
    path = request.raw_path
    call = Call(request.method, path, watch="watch=true" in path)
    body = await request.read()
    proxy_.calls.append(call)
    await proxy_.open.wait()
    instead = await proxy_.before(call)
    if instead is not None:
        return instead
    headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
    async with http.request(
        request.method, f"{server}{path}", headers=headers, data=body or None, allow_redirects=False
    ) as answer:
        passed = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP - {"content-encoding"}}
        if call.watch:
            return await _stream(proxy_, request, answer, passed)
        content = await answer.read()
    await proxy_.after(call)
    return web.Response(status=answer.status, headers=passed, body=content)


async def _stream(
    proxy_: Proxy, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    over = asyncio.Event()
    proxy_._watches.add(over)
    ending = asyncio.create_task(over.wait())
    try:
        while True:
            reading = asyncio.create_task(answer.content.readline())
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                break
            line = reading.result()
            await proxy_.watches_open.wait()
            if not line or over.is_set():
                break
            await response.write(line)
    except (aiohttp.ClientError, ConnectionError):
        pass
    finally:
        ending.cancel()
        proxy_._watches.discard(over)
    return response
