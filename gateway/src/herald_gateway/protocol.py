"""uvicorn's httptools protocol with the deadlines and caps that it lacks.

Measured (uvicorn 0.54, httptools 0.9): a connection may stay silent, drip one header or body byte at a time, or
send megabytes of headers, for ever; its keep-alive timer starts anew with each byte, and ASGI middleware sees
a request only when its headers are complete. So the limits sit here, below ASGI, where bytes arrive.
"""

import asyncio
import json
from typing import Any, ClassVar, Literal, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from herald_contracts.settings import Limits
from herald_gateway.limits import Connections
from herald_gateway.refusals import Refusals

STALL_SECONDS = 30.0  # a reader that takes nothing for this long is gone
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 4 * 2**20
_PER_HEADER = 4  # ": " and CR LF
_MOST_PIPELINED = 16  # requests on one connection that wait for the one before them: each holds memory

Phase = Literal["idle", "header", "body"]


class _Enough(Exception):
    """Leaves the parser from inside one of its callbacks; the refusal is already decided."""


def guarded(limits: Limits, connections: Connections, refusals: Refusals) -> type[HttpToolsProtocol]:
    """The protocol class of one server: uvicorn makes one object of it per connection."""

    class Bound(GuardedProtocol):
        _limits = limits
        _open = connections
        _refusals = refusals

    return Bound


class GuardedProtocol(HttpToolsProtocol):
    _limits: ClassVar[Limits]
    _open: ClassVar[Connections]
    _refusals: ClassVar[Refusals]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._address = ""
        self._counted = False
        self._phase: Phase = "header"
        self._unparsed = 0  # header bytes received and not yet complete
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._refusal: tuple[int, str] | None = None
        self._refused = False
        self._discarded = 0

    # Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        full = self._open.enter(self._address)
        if full:
            status = 429 if full == "connections_per_address" else 503
            self._refusals.count("", full, status, self._address)
            self.transport = transport
            transport.write(_answer(status, full))
            transport.close()
            return
        self._counted = True
        super().connection_made(transport)
        self._allow(self._limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        self.resume_writing()
        if self._counted:
            self._counted = False
            self._open.leave(self._address)
            super().connection_lost(exc)

    # Bytes

    def data_received(self, data: bytes) -> None:
        if self._refused or not self._counted:
            self._discarded += len(data)
            if self._discarded > _LINGER_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        began = self._phase
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No upgrade is offered: the request is answered as it is, and nothing can follow it.
            cycle = self._current()
            if cycle is not None:
                cycle.keep_alive = False
            return
        except httptools.HttpParserError:
            status, reason = self._refusal or (400, "invalid_http")
            self._refuse(status, reason)
            return
        if self._phase == "header":
            if began == "header":
                self._unparsed += len(data)
            if self._unparsed > self._limits.header_bytes:
                self._refuse(431, "headers_too_large")
            elif self._deadline is None:
                self._allow(self._limits.header_seconds)
        elif self._phase == "body" and self._deadline is None:
            self._allow(self._limits.body_seconds)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "invalid_http")

    # The parser's callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase = "header"
        self._unparsed = 0

    def on_headers_complete(self) -> None:
        # Not header by header: a callback each would cost more than all the rest of this class.
        size = len(self.url) + sum([len(name) + len(value) + _PER_HEADER for name, value in self.headers])
        if size > self._limits.header_bytes:
            self._refusal = (431, "headers_too_large")
            raise _Enough
        if len(self.pipeline) >= _MOST_PIPELINED:
            self._refusal = (429, "pipelined")
            raise _Enough
        super().on_headers_complete()  # raises for a target that is none: then it is still the headers' fault
        self._phase = "body"
        self._forget_deadline()

    def on_message_complete(self) -> None:
        self._phase = "idle"
        self._unparsed = 0
        self._forget_deadline()
        super().on_message_complete()

    # Readers that stop reading

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALL_SECONDS, self._stall)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        if self.flow is not None:
            super().resume_writing()

    def _stall(self) -> None:
        self._refusals.count("", "slow_reader", 0, self._address)
        self.transport.abort()

    # Deadlines

    def _allow(self, seconds: float) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(seconds, self._late)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self._refused:
            self.transport.abort()
            return
        self._refuse(408, "slow_headers" if self._phase == "header" else "slow_body")

    def _refuse(self, status: int, reason: str) -> None:
        """Answer if no answer has begun, then close once the other side has had time to read it.

        Closing at once with unread bytes in the kernel would reset the connection and take the answer with it.
        """
        self._refusals.count("", reason, status, self._address)
        if self.transport.is_closing():
            return
        cycle = self._current()
        if self._phase == "body":
            unanswered = cycle is not None and not cycle.response_started and not self.pipeline
        else:
            unanswered = cycle is None or cycle.response_complete
        if unanswered:
            self.transport.write(_answer(status, reason))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self._refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._allow(_LINGER_SECONDS)

    def _current(self) -> RequestResponseCycle | None:
        """The newest request whose headers are complete; uvicorn's annotation leaves out that there may be none."""
        return cast("RequestResponseCycle | None", self.cycle)

    def shutdown(self) -> None:
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()


def _answer(status: int, reason: str) -> bytes:
    body = json.dumps({"error": reason}).encode()
    return b"".join(
        (
            STATUS_LINE[status],
            b"content-type: application/json\r\nconnection: close\r\ncontent-length: ",
            str(len(body)).encode(),
            b"\r\n\r\n",
            body,
        )
    )
