"""Signed webhook requests as raw HTTP/1.1 bytes, pure: what a platform would send, each one different.

Built and signed before the clock starts, so that the load client only moves bytes.
"""

import hashlib
import hmac
import json

BODY = 600  # bytes, about what a chat message with its envelope has


def herald_body(event: str, *, conversation: str, sender: str, text: str, size: int = 0) -> bytes:
    """The hmac channel's wire format, padded to `size` bytes when it is shorter."""
    body: dict[str, object] = {
        "id": event,
        "conversation": conversation,
        "thread": None,
        "sender": {"id": sender, "name": f"Person {sender}"},
        "text": text,
    }
    return _padded(body, body, size)


def herald_request(path: str, body: bytes, *, secret: bytes, now: int) -> bytes:
    """`now` is unix seconds; the signature covers it and the raw body."""
    stamp = str(now)
    mac = hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return _request(path, body, (("herald-timestamp", stamp), ("herald-signature", f"v1={mac}")))


def slack_body(event: str, *, conversation: str, sender: str, text: str, size: int = 0) -> bytes:
    """A Slack Events API callback of one message (docs.slack.dev, "Using the Events API"), padded to `size`."""
    message: dict[str, object] = {
        "type": "message",
        "channel": conversation,
        "user": sender,
        "text": text,
        "ts": "1763800000.000100",
        "event_ts": "1763800000.000100",
        "channel_type": "channel",
    }
    body: dict[str, object] = {
        "token": "unused",
        "team_id": "T0001",
        "api_app_id": "A0001",
        "event": message,
        "type": "event_callback",
        "event_id": event,
        "event_time": 1_763_800_000,
        "authorizations": [{"team_id": "T0001", "user_id": "U0002", "is_bot": True}],
    }
    return _padded(body, message, size)


def slack_request(path: str, body: bytes, *, secret: bytes, now: int) -> bytes:
    """Signature version v0 (docs.slack.dev, "Verifying requests from Slack")."""
    stamp = str(now)
    mac = hmac.new(secret, f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return _request(path, body, (("x-slack-request-timestamp", stamp), ("x-slack-signature", f"v0={mac}")))


def _padded(body: dict[str, object], inner: dict[str, object], size: int) -> bytes:
    short = size - len(json.dumps(body).encode())
    if short > 0:
        inner["text"] = f"{inner['text']} {'x' * max(0, short - 1)}"
    return json.dumps(body).encode()


def _request(path: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> bytes:
    head = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "user-agent: benchmark",
        "accept: */*",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
