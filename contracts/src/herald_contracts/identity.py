"""Ids that two processes must agree on without asking each other.

All are derived, never drawn: a webhook delivered twice, a turn resumed by another worker and a reply sent
again after a crash get the same id each time, which is what every de-duplication in Herald rests on.
"""

import base64
import hashlib


def _digest(prefix: str, *parts: str) -> str:
    # Length-prefixed parts, so that ("ab", "c") and ("a", "bc") never meet.
    material = b"".join(len(p.encode()).to_bytes(4, "big") + p.encode() for p in parts)
    token = base64.b32encode(hashlib.sha256(material).digest()[:16]).decode().rstrip("=").lower()
    return f"{prefix}{token}"


def conversation_id(channel: str, chat: str, thread: str | None) -> str:
    """`c` + 26 characters of [a-z2-7]: safe as a NATS subject token. Messages of one id are answered in order."""
    return _digest("c", channel, chat, thread or "")


def message_id(channel: str, event_id: str) -> str:
    """`m` + 26 characters: the same platform event always gets the same message id."""
    return _digest("m", channel, event_id)


def turn_id(message: str) -> str:
    """`t` + 26 characters: one message opens exactly one turn."""
    return _digest("t", message)


def reply_id(turn: str, number: int = 0) -> str:
    """`r` + 26 characters: the `number`-th reply of a turn, and its idempotency key on every platform."""
    return _digest("r", turn, str(number))


def user_key(channel: str, sender: str) -> str:
    """`u` + 26 characters: whose memory and whose fair share a message counts against."""
    return _digest("u", channel, sender)


def fact_id(user_key: str, text: str) -> str:
    """`f` + 26 characters: the same thing told twice by the same user is one fact."""
    return _digest("f", user_key, text)
