"""Alive, and ready: could a message be accepted durably at this moment? And, for us alone, how is it doing?

What a load balancer asks is public, the metrics are not: they tell a stranger how much is going on, and when.

Ready is asked of the stream itself, at most once a second however often somebody probes.
"""

import asyncio
import time
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from herald_contracts.subjects import Names
from herald_runtime import metrics

_FRESH_SECONDS = 1.0
_ASK_SECONDS = 2.0
HEADROOM_BYTES = 4_096  # a stream with less room than one common message is full


class Readiness:
    """`problem` is "" while a webhook would be answered with 2xx."""

    def __init__(self, names: Names, trouble: Callable[[], str]) -> None:
        """`trouble` says what publishing has just met; the stream may look well and yet store nothing."""
        self._stream = names.in_stream
        self._trouble = trouble
        self._client: Client | None = None
        self._draining = False
        self._known = ""
        self._at = float("-inf")
        self._asking = asyncio.Lock()

    def connected(self, client: Client) -> None:
        """From now on it depends on this connection."""
        self._client = client

    def drain(self) -> None:
        """Never ready again."""
        self._draining = True

    async def ready(self) -> bool:
        return not await self.problem()

    async def problem(self) -> str:
        if self._draining:
            return "draining"
        if self._client is None or not self._client.is_connected:
            return "not connected to NATS"
        async with self._asking:
            if time.monotonic() - self._at > _FRESH_SECONDS:
                self._known = await self._ask(self._client)
                self._at = time.monotonic()
            return self._known or self._trouble()

    async def _ask(self, client: Client) -> str:
        try:
            info = await client.jetstream(timeout=_ASK_SECONDS).stream_info(self._stream)
        except NotFoundError:
            return f"the stream {self._stream} does not exist"
        except (nats.errors.Error, JetStreamError, TimeoutError, OSError) as e:
            return f"JetStream does not answer ({type(e).__name__})"
        most_bytes = info.config.max_bytes or -1
        most_messages = info.config.max_msgs or -1
        if 0 < most_bytes < info.state.bytes + HEADROOM_BYTES or 0 < most_messages <= info.state.messages:
            return f"the stream {self._stream} is full"
        return ""


def routes(readiness: Readiness) -> list[Route]:
    """What everybody may ask."""

    async def live(_: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(_: Request) -> Response:
        problem = await readiness.problem()
        if problem:
            return JSONResponse({"ready": False, "reason": problem}, status_code=503)
        return JSONResponse({"ready": True})

    return [Route("/healthz/live", live), Route("/healthz/ready", ready)]


def private_app(readiness: Readiness) -> Starlette:
    """The same and the metrics, for a port of its own."""

    async def exposition(_: Request) -> Response:
        text, content_type = metrics.exposition()
        return Response(text, headers={"content-type": content_type})

    return Starlette(routes=[*routes(readiness), Route("/metrics", exposition)])
