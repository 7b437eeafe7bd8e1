"""The hot route: POST /channels/<name>/events, as a plain ASGI callable.

Request and Response objects would cost as much as verifying, parsing and publishing together. The order of
the steps is the promise: refuse early, verify, parse, make durable, and only then answer 2xx.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from starlette.types import Receive, Scope, Send

from herald_contracts.errors import ConfigurationError, HeraldError, TemporaryError
from herald_contracts.settings import Limits
from herald_gateway.channels.base import Channel, Inbound, RawRequest, Refused, TooLarge
from herald_gateway.limits import Memory, NotAllowed, Share, check_headers
from herald_gateway.measurements import Measurements
from herald_gateway.publishing import Intake, not_now
from herald_gateway.refusals import Refusals, body_of
from herald_runtime import logs

log = logs.get("webhook")
EVENTS = "/events"


class Disconnected(Exception):
    """The caller left before its request was complete."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Webhooks:
    """Takes the events of every channel."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        intake: Intake,
        limits: Limits,
        measurements: Measurements,
        refusals: Refusals,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._channels = channels
        self._intake = intake
        self._limits = limits
        self._measurements = measurements
        self._refusals = refusals
        self._now = now
        self._memory = Memory()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """Answer one request for the channel called `name`, whether it exists or not."""
        began = time.perf_counter()
        channel = self._channels.get(name)
        try:
            if channel is None:
                raise Refused("unknown_channel", status=404)
            with self._memory.share() as share:
                inbound = await self._read(channel, scope, receive, share)
                stored = await self._intake.store(inbound.messages, began, channel.ack_deadline)
        except Disconnected:
            self._refusals.count(name, "disconnected", 0, client_of(scope))
            return
        except Refused as e:
            await self._refuse(scope, send, channel, e)
            return
        except (TemporaryError, ConfigurationError) as e:
            await self._unavailable(scope, send, name, e)
            return
        except Exception:
            # A fault of ours. The platform keeps the event and tries again; meanwhile somebody reads this.
            log.exception("a request failed in an unforeseen way", channel=name)
            self._measurements.requests.add(name, "failed")
            await respond(send, 500, b'{"error": "internal"}')
            return
        if inbound.messages:
            for duplicate in stored:
                self._measurements.accepted.add(name, "true" if duplicate else "false")
            self._measurements.requests.add(name, "accepted")
            self._measurements.accept_took(name, time.perf_counter() - began)
        else:
            self._measurements.requests.add(name, f"ignored: {inbound.ignored}" if inbound.ignored else "ignored")
        answer = inbound.answer
        await respond(send, answer.status, answer.body, answer.content_type.encode())

    async def _read(self, channel: Channel, scope: Scope, receive: Receive, share: Share) -> Inbound:
        method: str = scope["method"]
        check_head(channel, method, scope["headers"], self._limits)
        request = RawRequest(
            method=method,
            path=EVENTS,
            query=scope["query_string"].decode("latin-1"),
            headers=tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]),
            body=await read_body(receive, self._limits.body_bytes, share),
            received_at=self._now(),
        )
        return channel.receive(request)

    async def _refuse(self, scope: Scope, send: Send, channel: Channel | None, refusal: Refused) -> None:
        name = channel.name if channel is not None else ""
        self._refusals.count(name, refusal.reason, refusal.status, client_of(scope))
        self._measurements.requests.add(name, "refused")
        extra: list[tuple[bytes, bytes]] = []
        if channel is not None and refusal.status == 405:
            extra.append((b"allow", ", ".join(sorted(channel.methods)).encode()))
        await respond(send, refusal.status, body_of(refusal), extra=extra)

    async def _unavailable(self, scope: Scope, send: Send, name: str, error: HeraldError) -> None:
        """Nothing is promised: the platform keeps the event and tries again."""
        told = not_now(error)
        self._refusals.count(name, told.reason, 503, client_of(scope), str(error))
        self._measurements.requests.add(name, "unavailable")
        await respond(send, 503, b'{"error": "try_again"}', extra=[(b"retry-after", str(told.retry_after).encode())])


def check_head(channel: Channel, method: str, headers: Iterable[tuple[bytes, bytes]], limits: Limits) -> None:
    """Refuse what can be refused before a body is read. Raises Refused."""
    if method not in channel.methods:
        raise NotAllowed("method")
    check_headers(method, headers, limits)


async def read_body(receive: Receive, limit: int, share: Share) -> bytes:
    """The whole body. Counts what really arrives: a Content-Length is only a claim.

    Raises TooLarge, Refused (503) when all bodies together are too many, or Disconnected.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise TooLarge("body_too_large")
        share.take(len(chunk))
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


async def respond(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = b"application/json",
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    if extra:
        headers += extra
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def client_of(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
