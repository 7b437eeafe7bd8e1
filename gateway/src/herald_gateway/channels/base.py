"""The port between the gateway and a chat platform.

Everything a platform does differently is behind `Channel`; everything that keeps the promise (publish before
the answer, delivery records, drain) is in front of it, once. `receive` is pure: it sees one request and its
time of arrival, and nothing else, so every signature edge is a table test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from herald_contracts.errors import PermanentError, TemporaryError
from herald_contracts.messages import Message, Reply
from herald_contracts.settings import Limits
from herald_contracts.subjects import Names

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from aiohttp import ClientSession
    from nats.aio.client import Client
    from starlette.routing import BaseRoute

    from herald_runtime.acks import Publisher


class Refused(PermanentError):
    """A request that is answered with an error and never published.

    `reason` is one of a small fixed set of snake_case words (it is a metric label: never put input into it).
    The body of a 401 never carries it. `field` names the offending JSON field, for callers whose signature
    was good.
    """

    default_status: ClassVar[int] = 400

    def __init__(self, reason: str, *, status: int | None = None, field: str = "") -> None:
        super().__init__(reason)
        self.status = self.default_status if status is None else status
        self.reason = reason
        self.field = field


class Malformed(Refused):
    """Not what the platform's format promises."""


class DuplicateHeader(Refused):
    """A header that must be single came more than once: two readers could see two requests."""

    def __init__(self, reason: str = "duplicate_header") -> None:
        super().__init__(reason)


class Unauthenticated(Refused):
    """Missing, wrong or outdated proof of who sent it."""

    default_status = 401


class Forbidden(Refused):
    """Known, but not allowed."""

    default_status = 403


class TooLarge(Refused):
    default_status = 413


class WrongType(Refused):
    """A content type or encoding that the channel does not take."""

    default_status = 415


class TooMany(Refused):
    """One sender asks for more than its share right now."""

    default_status = 429


@dataclass(frozen=True, slots=True)
class RawRequest:
    """One request as it came in, body read, nothing believed."""

    method: str  # upper case
    path: str  # below the channel: "" or "/something"
    query: str  # raw, without "?"
    headers: tuple[tuple[str, str], ...]  # lower-case names, latin-1 decoded, in order, repeats kept
    body: bytes
    received_at: datetime  # UTC; the only clock that parsing and verifying see

    def header(self, name: str) -> str | None:
        """The value of a header (lower-case name), None when absent. Raises DuplicateHeader when repeated."""
        found: str | None = None
        for key, value in self.headers:
            if key == name:
                if found is not None:
                    raise DuplicateHeader
                found = value
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What the platform is told."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Inbound:
    """What one request came to. The answer is sent once all messages are durable."""

    messages: tuple[Message, ...] = ()
    answer: Answer = Answer()
    ignored: str = ""  # why there is nothing to publish (a metric label), such as "challenge"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The platform has taken the reply."""

    platform_message_id: str


class ChannelDown(TemporaryError):
    """The platform cannot take it now, and nothing was sent. `retry_after` in seconds when the platform said so."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class SendUnknown(TemporaryError):
    """It may or may not have arrived."""


class Undeliverable(PermanentError):
    """The platform says that this reply can never be delivered. The text becomes the reason in the dead letter."""


@dataclass(frozen=True, slots=True)
class ChannelContext:
    """What a channel may use of the process it runs in."""

    http: "ClientSession"  # for all outbound calls; no cookies, no proxies from the environment
    nats: "Client"
    names: Names
    publisher: "Publisher"
    limits: Limits
    publish_deadline: float  # seconds, from the request to a durable acknowledgement
    stopping: "asyncio.Event"  # set when the gateway begins to drain: long-lived responses end then
    ready: "Callable[[], Awaitable[bool]] | None" = None  # the answer of /healthz/ready, for a page that shows it


class Channel(Protocol):
    """One bot on one platform."""

    name: str
    type: str
    methods: frozenset[str]  # HTTP methods its webhook takes
    ack_deadline: float  # seconds within which the platform wants its answer
    idempotent: bool  # the platform drops a repeated reply id
    on_unknown: Literal["resend", "hold"]

    def receive(self, request: RawRequest) -> Inbound:
        """Verify and parse. Pure given the channel's secrets. Raises Refused and nothing else."""
        ...

    async def send(self, reply: Reply, attempt: int) -> Delivered:
        """Deliver with `reply.id` as idempotency key. Raises ChannelDown, SendUnknown or Undeliverable.

        `attempt` counts from 1. It is cancelled after `herald_gateway.delivery_rules.ATTEMPT_SECONDS`, which then
        counts as SendUnknown.
        """
        ...

    async def start(self, context: ChannelContext) -> None:
        """Called once, before the first request. Raises ConfigurationError for secrets that cannot work."""
        ...

    async def stop(self) -> None:
        """Called once, after the last request and the last send."""
        ...

    def routes(self) -> "Sequence[BaseRoute]":
        """Extra Starlette routes below /channels/<name>/, such as the chat page."""
        ...
