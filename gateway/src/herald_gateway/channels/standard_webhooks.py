"""The `standardWebhooks` channel: the specification of standardwebhooks.com, both ways.

Verification is our own: the SDK lets ValueError and binascii.Error escape on malformed headers, takes float
timestamps and reads the system's clock (measured with 1.1). Only symmetric `v1` signatures are taken.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from hmac import digest
from typing import Literal

from starlette.routing import BaseRoute

from herald_contracts.errors import ConfigurationError
from herald_contracts.messages import Reply
from herald_contracts.settings import Limits, StandardWebhooksChannel
from herald_gateway import strict_json
from herald_gateway.channels import event_format
from herald_gateway.channels.base import (
    Answer,
    ChannelContext,
    Delivered,
    Inbound,
    Malformed,
    RawRequest,
    Unauthenticated,
)
from herald_gateway.channels.callback import Callback
from herald_gateway.channels.signatures import MOST_SIGNATURES, LiveKeys, any_match, check_timestamp
from herald_runtime.secrets import SecretFolder

LEAST_KEY_BYTES = 24  # the specification's minimum
_PREFIX = b"whsec_"
_VERSION = "v1,"
# No full stop: it parts the signed text, and "a.1" + "2" would sign the same bytes as "a" + "1.2".
_ID = re.compile(r"[!-\-/-~]{1,256}")


def key_of(secret: bytes) -> bytes:
    """The key inside `whsec_<base64>`. Raises ConfigurationError, which does not quote it."""
    encoded = secret.removeprefix(_PREFIX).rstrip(b"=")
    try:
        # Some providers hand out secrets without padding.
        key = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or len(key) < LEAST_KEY_BYTES:
        raise ConfigurationError(
            f"a Standard Webhooks secret is not whsec_ and the base64 of at least {LEAST_KEY_BYTES} bytes",
            hint='make one with `echo "whsec_$(openssl rand -base64 32)"`',
        )
    return key


def sign(key: bytes, identifier: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the base64 HMAC-SHA256 over id, timestamp and raw body, joined by full stops."""
    mac = digest(key, f"{identifier}.{timestamp}.".encode() + body, hashlib.sha256)
    return _VERSION + base64.b64encode(mac).decode()


def verify(keys: Sequence[bytes], request: RawRequest) -> str:
    """The webhook's id. Raises Unauthenticated or Malformed. `keys` are all that are live."""
    identifier = request.header("webhook-id")
    if not identifier:
        raise Unauthenticated("id_missing")
    if not _ID.fullmatch(identifier):
        raise Malformed("id_malformed")
    timestamp = check_timestamp(request.header("webhook-timestamp"), request.received_at)
    header = request.header("webhook-signature")
    if not header:
        raise Unauthenticated("signature_missing")
    given = header.split(" ")
    if len(given) > MOST_SIGNATURES:
        raise Unauthenticated("signature_malformed")
    if not any_match(given, [sign(key, identifier, timestamp, request.body) for key in keys]):
        raise Unauthenticated("signature_wrong")
    return identifier


class StandardWebhooks:
    """One channel of type `standardWebhooks`."""

    type: str = "standardWebhooks"
    methods: frozenset[str] = frozenset(("POST",))
    ack_deadline: float = 15.0  # senders are told to wait 15 to 30 seconds
    idempotent: bool = False

    def __init__(self, settings: StandardWebhooksChannel) -> None:
        self.name = settings.name
        self.on_unknown: Literal["resend", "hold"] = settings.on_unknown
        self._callback = Callback(settings.reply_url, settings.on_unknown)
        self._limits = Limits()
        self._keys = LiveKeys(SecretFolder(settings.secret), "secret", key_of)

    def receive(self, request: RawRequest) -> Inbound:
        identifier = verify(self._keys.at(request.received_at), request)
        event = strict_json.loads(request.body, self._limits)
        message = event_format.parse(event, channel=self.name, request=request, event_id=identifier)
        return Inbound((message,), Answer(202, event_format.accepted_body(message)))

    async def send(self, reply: Reply, attempt: int) -> Delivered:
        body = event_format.reply_body(reply)
        now = datetime.now(UTC)
        timestamp = str(int(now.timestamp()))
        await self._callback.post(
            body,
            {
                "webhook-id": reply.id,
                "webhook-timestamp": timestamp,
                "webhook-signature": " ".join(sign(key, reply.id, timestamp, body) for key in self._keys.at(now)),
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


def create(settings: StandardWebhooksChannel) -> StandardWebhooks:
    """Raises ConfigurationError for a missing or malformed secret, or a URL that cannot be posted to."""
    return StandardWebhooks(settings)
