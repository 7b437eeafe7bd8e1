"""The chat page as a channel.

Its way in is that of every webhook: the page posts to `/channels/<name>/events`, the gateway makes the message
durable and only then says so. Its way out is the transcript: a reply that is in stream OUT is delivered.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from herald_contracts.errors import ConfigurationError
from herald_contracts.messages import Reply
from herald_contracts.settings import Limits, WebChannel
from herald_gateway.channels.base import (
    ChannelContext,
    Delivered,
    Forbidden,
    Inbound,
    RawRequest,
    Unauthenticated,
    WrongType,
)
from herald_gateway.channels.web import events, pages, posting
from herald_gateway.channels.web.live import LiveUpdates
from herald_gateway.channels.web.session import Session, Sessions, same_origin
from herald_gateway.channels.web.transcript import Transcripts, Unavailable, View
from herald_runtime import logs
from herald_runtime.process import first_to_end
from herald_runtime.secrets import SecretFolder

log = logs.get("web")


def create(settings: WebChannel) -> "WebChat":
    return WebChat(settings)


class WebChat:
    """Implements `herald_gateway.channels.base.Channel`."""

    type = "web"
    methods = frozenset({"POST"})
    ack_deadline = 10.0  # ours to choose: the page repeats what was not confirmed
    idempotent = True
    on_unknown: Literal["resend", "hold"] = "resend"

    def __init__(self, settings: WebChannel) -> None:
        self.name = settings.name
        self._secret = SecretFolder(settings.secret)
        self._assets = pages.load(settings.title)
        self._limits = Limits()
        self._live = LiveUpdates()
        self._context: ChannelContext | None = None
        self._sessions: Sessions | None = None
        self._transcripts: Transcripts | None = None

    async def start(self, context: ChannelContext) -> None:
        self._limits = context.limits
        self._sessions = Sessions(self._secret, context.names, self.name)
        self._transcripts = Transcripts(context.nats, context.names, self.name, self._live, context.stopping)
        self._context = context
        await self._live.start(context.nats, context.names, self.name)

    async def stop(self) -> None:
        await self._live.stop()

    def receive(self, request: RawRequest) -> Inbound:
        if not same_origin(
            fetch_site=request.header("sec-fetch-site"), origin=request.header("origin"), host=request.header("host")
        ):
            raise Forbidden("other_origin")
        content_type = request.header("content-type") or ""
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise WrongType("content_type")
        session = self._session(request.header("cookie"))
        return posting.parse(request.body, session, self.name, request.received_at, self._limits)

    async def send(self, reply: Reply, attempt: int) -> Delivered:
        # Nothing is left to do: the reply is durable in stream OUT, which the transcript is made of.
        return Delivered(reply.id)

    def routes(self) -> Sequence[BaseRoute]:
        return (
            Route("/", self._page, methods=["GET"]),
            Route("/session", self._begin, methods=["POST"]),
            Route("/state", self._state, methods=["GET"]),
            Route("/stream", self._stream, methods=["GET"]),
            *(Route(f"/{name}", self._page, methods=["GET"]) for name in self._assets if name != "index.html"),
        )

    def _session(self, cookies: str | None) -> Session:
        session = self._sessions.read(cookies) if self._sessions is not None and cookies else None
        if session is None:
            raise Unauthenticated("no_session")
        return session

    async def _page(self, request: Request) -> Response:
        name = request.scope["path"].rpartition("/")[2] or "index.html"
        return self._assets[name].response(request.headers.get("if-none-match"))

    async def _begin(self, request: Request) -> Response:
        """Renew the session, or begin one. Asked for by the page's script and not done by the page itself.

        A browser keeps a SameSite=Strict cookie back when someone follows a link to the page: a new session
        would then take the place of the old one.
        """
        headers = request.headers
        origin = headers.get("origin")
        if not same_origin(fetch_site=headers.get("sec-fetch-site"), origin=origin, host=headers.get("host")):
            raise Forbidden("other_origin")
        if self._sessions is None:
            return _try_again()
        try:
            session = self._sessions.read(headers.get("cookie", ""))
            known = session is not None
            session = session or self._sessions.begin()
            # The browser's own word, since what we see may be a proxy's plain http.
            secure = request.scope["scheme"] == "https" or (origin or "").startswith("https:")
            cookie = self._sessions.header(session, secure=secure)
        except ConfigurationError as e:
            return self._no_sessions(e)
        answer = {"session": session.tag, "known": known, "characters": posting.MAX_CHARACTERS}
        return JSONResponse(answer, headers={**pages.PRIVATE, "set-cookie": cookie})

    async def _state(self, _: Request) -> Response:
        ask = self._context.ready if self._context is not None else None
        return JSONResponse({"ready": ask is not None and await ask()}, headers=pages.PRIVATE)

    async def _stream(self, request: Request) -> Response:
        headers = request.headers
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise Forbidden("other_origin")
        after = events.last_seen(headers.get("last-event-id"), request.query_params.get("after"))
        try:
            session = self._session(headers.get("cookie"))
            chat = session.chat(request.query_params.get("chat", ""))
            if request.method == "HEAD":
                return Response(headers=pages.PRIVATE)
            if self._transcripts is None:
                return _try_again()
            return EventStream(await self._transcripts.view(session, chat, after))
        except Unavailable as e:
            log.info("transcript not available", channel=self.name, problem=str(e))
            return _try_again()
        except ConfigurationError as e:
            return self._no_sessions(e)

    def _no_sessions(self, error: ConfigurationError) -> Response:
        log.error("no session can be read", channel=self.name, problem=str(error))
        return _try_again()


class EventStream(Response):
    """Server-sent events from one view, until it or the page ends."""

    def __init__(self, view: View) -> None:
        # A proxy that gathers the events first would take the life out of them (nginx reads X-Accel-Buffering).
        super().__init__(
            headers={**pages.PRIVATE, "x-accel-buffering": "no"}, media_type="text/event-stream; charset=utf-8"
        )
        del self.headers["content-length"]
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def write(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        async def left() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        # The page may go between two looks: what is written then has no reader, which is nobody's fault.
        with contextlib.suppress(OSError):
            await first_to_end(
                asyncio.create_task(self._view.run(write), name="view"), asyncio.create_task(left(), name="page left")
            )
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _try_again() -> Response:
    headers = {**pages.PRIVATE, "retry-after": "2"}
    return JSONResponse({"error": "try_again"}, status_code=503, headers=headers)
