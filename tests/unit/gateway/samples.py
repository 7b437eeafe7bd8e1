"""Requests and values that the gateway's unit tests start from."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from herald_contracts.messages import Message, Reply
from herald_contracts.settings import HmacChannel, Limits, StandardWebhooksChannel
from herald_gateway.channels import event_format
from herald_gateway.channels.base import RawRequest

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECRET = b"0123456789abcdef0123456789abcdef"
OLD_SECRET = b"fedcba9876543210fedcba9876543210"
KEY = bytes(range(32))
WHSEC = "whsec_" + base64.b64encode(KEY).decode()
REPLY_URL = "http://127.0.0.1:9/replies"
LIMITS = Limits()
EVENT: dict[str, Any] = {
    "id": "event-1",
    "conversation": "room-1",
    "thread": None,
    "sender": {"id": "user-1", "name": "Ada"},
    "text": "Hello",
    "timestamp": "2026-11-22T11:59:58Z",
}


def body(**changes: Any) -> bytes:
    """The sample event with some fields replaced; a field set to `...` is left out."""
    return json.dumps({k: v for k, v in {**EVENT, **changes}.items() if v is not ...}).encode()


def request(content: bytes, *headers: tuple[str, str]) -> RawRequest:
    return RawRequest("POST", "/events", "", (("host", "gateway.test"), *headers), content, NOW)


def hmac_signature(secret: bytes, timestamp: str, content: bytes) -> str:
    """Written out here on its own, so that a wrong `sign` in the product cannot agree with itself."""
    return "v1=" + hmac.new(secret, timestamp.encode() + b"." + content, hashlib.sha256).hexdigest()


def hmac_request(
    content: bytes, *, secret: bytes = SECRET, timestamp: str | None = None, signature: str | None = None
) -> RawRequest:
    timestamp = str(int(NOW.timestamp())) if timestamp is None else timestamp
    if signature is None:
        signature = hmac_signature(secret, timestamp, content)
    return request(
        content,
        ("content-type", "application/json"),
        ("herald-timestamp", timestamp),
        ("herald-signature", signature),
    )


def without(source: RawRequest, name: str) -> RawRequest:
    headers = tuple(pair for pair in source.headers if pair[0] != name)
    return RawRequest(source.method, source.path, source.query, headers, source.body, source.received_at)


def plus(source: RawRequest, *extra: tuple[str, str]) -> RawRequest:
    headers = source.headers + extra
    return RawRequest(source.method, source.path, source.query, headers, source.body, source.received_at)


def secret_folder(folder: Path, **keys: bytes) -> Path:
    """A folder of secret files; `_` in a key stands for `-`."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in keys.items():
        (folder / key.replace("_", "-")).write_bytes(value)
    return folder


def hmac_settings(folder: Path, **changes: Any) -> HmacChannel:
    return HmacChannel(**{"name": "hook", "secret": folder, "reply_url": REPLY_URL, **changes})


def standard_settings(folder: Path, **changes: Any) -> StandardWebhooksChannel:
    return StandardWebhooksChannel(**{"name": "standard", "secret": folder, "reply_url": REPLY_URL, **changes})


def message(**changes: Any) -> Message:
    content = body(**changes)
    return event_format.parse(json.loads(content), channel="hook", request=request(content))


def reply(**changes: Any) -> Reply:
    values = {
        "id": "r" + "a" * 26,
        "turn": "t" + "a" * 26,
        "channel": "hook",
        "conversation": "c" + "a" * 26,
        "chat": "room-1",
        "reply_to": "event-1",
        "event_id": "event-1",
        "content": "An answer",
        "created_at": NOW,
    }
    return Reply(**{**values, **changes})
