"""Signing a request and checking a reply as an outside client of Herald does: ten lines per kind of channel.

Written against the public contract and not against the gateway's code, so that `herald send` would notice if the
two parted.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from herald_contracts.errors import ConfigurationError
from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.resources.v1alpha1.channels import Channel

Kind = Literal["hmac", "standardWebhooks"]
_TOLERANCE = 300


@dataclass(frozen=True, slots=True)
class Client:
    """An outside client of one channel. `reply_url` is where its replies are posted."""

    channel: str
    kind: Kind
    secret: bytes
    reply_url: str

    def __repr__(self) -> str:
        return f"Client({self.channel!r}, {self.kind!r})"

    def headers(self, event: str, body: bytes) -> dict[str, str]:
        """The headers that prove `body` is ours, now."""
        now = str(int(time.time()))
        if self.kind == "hmac":
            return {"Herald-Timestamp": now, "Herald-Signature": f"v1={self._hex(now, body)}"}
        return {
            "webhook-id": event,
            "webhook-timestamp": now,
            "webhook-signature": f"v1,{self._base64(event, now, body)}",
        }

    def genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a reply was signed by this channel within the last five minutes. Header names in lower case."""
        stamp = headers.get("herald-timestamp" if self.kind == "hmac" else "webhook-timestamp", "")
        if not (stamp.isascii() and stamp.isdigit()) or abs(time.time() - int(stamp)) > _TOLERANCE:
            return False
        if self.kind == "hmac":
            given = headers.get("herald-signature", "").split(",")
            expected = f"v1={self._hex(stamp, body)}"
        else:
            given = headers.get("webhook-signature", "").split(" ")
            expected = f"v1,{self._base64(headers.get('webhook-id', ''), stamp, body)}"
        return any(hmac.compare_digest(one.strip().encode(), expected.encode()) for one in given)

    def _hex(self, stamp: str, body: bytes) -> str:
        return hmac.new(self.secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()

    def _base64(self, event: str, stamp: str, body: bytes) -> str:
        key = base64.b64decode(self.secret.removeprefix(b"whsec_") + b"==")
        return base64.b64encode(hmac.new(key, f"{event}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()


def client(deployment: AgentDeployment, folder: Path, name: str | None) -> Client:
    """The client of channel `name`, or of the first that can be signed for. `folder` holds the Secrets.

    Raises ConfigurationError for a channel that is missing or of another kind.
    """
    channel, reference = choose(deployment.spec.channels, name)
    file = folder / reference / "secret"
    try:
        return of(channel, file.read_bytes())
    except OSError as e:
        raise ConfigurationError(e.strerror or "cannot be read", path=str(file)) from None


def choose(channels: Sequence[Channel], name: str | None) -> tuple[Channel, str]:
    """Channel `name`, or the first that can be signed for, and the name of its Secret, whose key is `secret`."""
    signed = [c for c in channels if c.hmac is not None or c.standard_webhooks is not None]
    known = ", ".join(c.name for c in signed) or "none"
    if not signed and name is None:
        raise ConfigurationError(
            "no channel of this deployment can be signed for", path="spec.channels", hint="add one of type hmac"
        )
    channel = next((c for c in channels if c.name == name), None) if name else signed[0]
    if channel is None:
        raise ConfigurationError(f"there is no channel {name!r}", path="--channel", hint=f"signed channels: {known}")
    settings = channel.hmac or channel.standard_webhooks
    if settings is None:
        raise ConfigurationError(
            f"{channel.name!r} is neither hmac nor standardWebhooks",
            path="--channel",
            hint=f"signed channels: {known}" if signed else "a web channel is written to on its page",
        )
    return channel, settings.secret_ref.name


def of(channel: Channel, secret: bytes) -> Client:
    """The client of a channel that `choose` chose."""
    settings = channel.hmac or channel.standard_webhooks
    assert settings is not None, "chosen among those that can be signed for"  # noqa: S101
    kind: Kind = "hmac" if channel.hmac is not None else "standardWebhooks"
    return Client(channel.name, kind, secret.strip(), settings.reply_url)


def event_id() -> str:
    """A new event's id."""
    return f"send-{secrets.token_hex(8)}"
