"""The `hmac` channel: anything that can sign. The contract for the other side is docs/channels/hmac.md."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from hmac import digest
from typing import Literal

from starlette.routing import BaseRoute

from herald_contracts.errors import ConfigurationError
from herald_contracts.messages import Reply
from herald_contracts.settings import HmacChannel, Limits
from herald_gateway import strict_json
from herald_gateway.channels import event_format
from herald_gateway.channels.base import Answer, ChannelContext, Delivered, Inbound, RawRequest, Unauthenticated
from herald_gateway.channels.callback import Callback
from herald_gateway.channels.signatures import MOST_SIGNATURES, LiveKeys, any_match, check_timestamp
from herald_runtime.secrets import SecretFolder

LEAST_SECRET_BYTES = 16
_VERSION = "v1="


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """`v1=` and the lower-case hex HMAC-SHA256 over timestamp, "." and the raw body."""
    return _VERSION + digest(secret, timestamp.encode() + b"." + body, hashlib.sha256).hex()


def verify(secrets: Sequence[bytes], request: RawRequest) -> None:
    """Raises Unauthenticated, or Malformed for a repeated header. `secrets` are all that are live."""
    timestamp = check_timestamp(request.header("herald-timestamp"), request.received_at)
    header = request.header("herald-signature")
    if not header:
        raise Unauthenticated("signature_missing")
    given = [part.strip() for part in header.split(",")]
    if len(given) > MOST_SIGNATURES:
        raise Unauthenticated("signature_malformed")
    if not any_match(given, [sign(secret, timestamp, request.body) for secret in secrets]):
        raise Unauthenticated("signature_wrong")


def _strong(secret: bytes) -> bytes:
    if len(secret) < LEAST_SECRET_BYTES:
        raise ConfigurationError(
            f"the secret is shorter than {LEAST_SECRET_BYTES} bytes", hint="make one with `openssl rand -hex 32`"
        )
    return secret


class Hmac:
    """One channel of type `hmac`."""

    type: str = "hmac"
    methods: frozenset[str] = frozenset(("POST",))
    ack_deadline: float = 10.0
    idempotent: bool = False  # a receiver may drop a repeated reply id, but we cannot know

    def __init__(self, settings: HmacChannel) -> None:
        self.name = settings.name
        self.on_unknown: Literal["resend", "hold"] = settings.on_unknown
        self._callback = Callback(settings.reply_url, settings.on_unknown)
        self._limits = Limits()
        self._keys = LiveKeys(SecretFolder(settings.secret), "secret", _strong)

    def receive(self, request: RawRequest) -> Inbound:
        verify(self._keys.at(request.received_at), request)
        event = strict_json.loads(request.body, self._limits)
        message = event_format.parse(event, channel=self.name, request=request)
        return Inbound((message,), Answer(202, event_format.accepted_body(message)))

    async def send(self, reply: Reply, attempt: int) -> Delivered:
        body = event_format.reply_body(reply)
        now = datetime.now(UTC)
        timestamp = str(int(now.timestamp()))
        # Signed with every live secret, so that a receiver may change over before or after us.
        signatures = [sign(secret, timestamp, body) for secret in self._keys.at(now)]
        await self._callback.post(
            body,
            {
                "Herald-Reply-Id": reply.id,
                "Herald-Attempt": str(attempt),
                "Herald-Timestamp": timestamp,
                "Herald-Signature": ",".join(signatures),
            },
        )
        return Delivered(reply.id)

    async def start(self, context: ChannelContext) -> None:
        self._limits = context.limits
        await self._callback.start(context)

    async def stop(self) -> None:
        await self._callback.stop()

    def routes(self) -> Sequence[BaseRoute]:
        return ()


def create(settings: HmacChannel) -> Hmac:
    """Raises ConfigurationError for a missing or weak secret, or a URL that cannot be posted to."""
    return Hmac(settings)
