"""Ids that two processes must agree on without asking each other.

All are derived, never drawn: a webhook delivered twice, a turn resumed by another worker and a reply sent
again after a crash get the same id each time, which is what every de-duplication in Herald rests on.
"""

import hashlib
from functools import lru_cache

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 base32 in lower case
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -1, -10)


def _digest(prefix: str, *parts: str) -> str:
    # Length-prefixed parts, so that ("ab", "c") and ("a", "bc") never meet.
    material = b"".join([len(p).to_bytes(4, "big") + p for p in [part.encode() for part in parts]])
    # 128 bits and two zeros make 26 characters, ten bits at a time: base64.b32encode takes longer than the hash.
    number = int.from_bytes(hashlib.sha256(material).digest()[:16], "big") << 2
    return prefix + "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


@lru_cache(maxsize=4_096)
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
