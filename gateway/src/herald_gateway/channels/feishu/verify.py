"""Who sent this request? Answered by our own code, because both official SDKs answer it wrongly.

They look headers up by exact case in a plain dict, compare digests with `!=`, report a bad signature as a
500 (which Feishu retries) and, in one mode, pass an unsigned event on when the headers are lower-case. So:

* With an Encrypt Key every body is `{"encrypt": base64}` and carries three headers; the signature is
  sha256(timestamp + nonce + encrypt key + raw body) in hex.
* The one request without these headers is the encrypted `url_verification` challenge.
  https://open.feishu.cn/document/ukTMukTMukTM/uYDNxYjL2QTM24iN0EjN/event-subscription-configure-/encrypt-key-encryption-configuration-case
  and, for the missing headers, larksuite/oapi-sdk-python#79 and openclaw/openclaw#58905.
* A plaintext body is a downgrade and is refused, challenge or not.

An unsigned body must be decrypted before anything about it is known. Every failure on that path has the same
status, so that the answers are no oracle on the padding of a recorded event.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from herald_contracts.settings import Limits
from herald_gateway import strict_json
from herald_gateway.channels.base import Malformed, RawRequest, Refused, Unauthenticated

# Feishu retries for 7.1 hours (15 s, 5 min, 1 h, 6 h) and does not say whether a retry is signed anew. A replay
# inside the window is a duplicate by its id; the window only keeps recordings from living for ever.
OLDEST = timedelta(hours=24)
NEWEST = timedelta(hours=1)

_BLOCK = 16
_NONCE_MAX = 256


@dataclass(frozen=True, slots=True)
class Keys:
    """The live secrets: the current one first, the previous one while a rotation lasts. All are non-empty."""

    encrypt: tuple[bytes, ...] = field(repr=False)
    tokens: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """An authentic request: either a challenge to answer or an event to parse."""

    event: dict[str, Any]
    challenge: str | None = None


def open_request(request: RawRequest, keys: Keys, app_id: str, limits: Limits) -> Opened:
    """Verify and decrypt one request. Raises Unauthenticated, Malformed or another Refused, and nothing else."""
    timestamp = request.header("x-lark-request-timestamp")
    nonce = request.header("x-lark-request-nonce")
    signature = request.header("x-lark-signature")
    envelope = strict_json.loads(request.body, limits)
    if not isinstance(envelope, dict):
        raise Malformed("not_an_object")
    sealed = envelope.get("encrypt")
    if not isinstance(sealed, str):
        raise Unauthenticated("plaintext")
    if timestamp is None and nonce is None and signature is None:
        return Opened({}, _unsigned_challenge(sealed, keys, limits))
    if timestamp is None or nonce is None or signature is None:
        raise Unauthenticated("signature_incomplete")
    _check_age(timestamp, request.received_at)
    key = _signing_key(timestamp, nonce, signature, request.body, keys.encrypt)
    event = _authentic_object(_decrypt(sealed, key), limits)
    header = event.get("header") if event.get("schema") == "2.0" else event
    token = header.get("token") if isinstance(header, dict) else None
    if not _known(token, keys.tokens):
        raise Unauthenticated("verification_token")
    if event.get("type") == "url_verification":
        return Opened({}, _challenge(event))
    for claimed in _app_ids(event):
        if claimed != app_id:
            raise Unauthenticated("other_app")
    return Opened(event)


def sign(timestamp: str, nonce: str, key: bytes, body: bytes) -> str:
    """Feishu's signature, lower-case hex. A plain hash with the key inside, not an HMAC: that is their format."""
    return hashlib.sha256(timestamp.encode() + nonce.encode() + key + body).hexdigest()


def _signing_key(timestamp: str, nonce: str, signature: str, body: bytes, keys: Iterable[bytes]) -> bytes:
    if not nonce.isascii() or len(nonce) > _NONCE_MAX:
        raise Unauthenticated("signature")
    given = signature.encode("latin-1", "replace")
    found: bytes | None = None
    for key in keys:
        if hmac.compare_digest(sign(timestamp, nonce, key, body).encode(), given):
            found = key
    if found is None:
        raise Unauthenticated("signature")
    return found


def _check_age(timestamp: str, now: datetime) -> None:
    # Timestamp and nonce are hashed without a separator, so a replayer may move digits between them. Fixed
    # lengths (seconds, or milliseconds) leave such a move without effect on the time that is read.
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) in (10, 13)):
        raise Unauthenticated("timestamp")
    age = now.timestamp() - int(timestamp[:10])
    if not -NEWEST.total_seconds() <= age <= OLDEST.total_seconds():
        raise Unauthenticated("timestamp")


class _Undecipherable(Exception):
    """Base64, length or padding is wrong. Never leaves this module."""


def _decrypt(sealed: str, key: bytes) -> bytes:
    """AES-256-CBC under sha256(key), IV in front, PKCS#7. Raises Malformed for an authentic body that is broken."""
    try:
        return _unseal(sealed, key)
    except _Undecipherable:
        raise Malformed("undecipherable") from None


def _unseal(sealed: str, key: bytes) -> bytes:
    try:
        data = base64.b64decode(sealed.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise _Undecipherable from None
    if len(data) < 2 * _BLOCK or len(data) % _BLOCK:
        raise _Undecipherable
    cipher = Cipher(algorithms.AES(hashlib.sha256(key).digest()), modes.CBC(data[:_BLOCK]))
    decryptor = cipher.decryptor()
    unpadder = PKCS7(8 * _BLOCK).unpadder()
    padded = decryptor.update(data[_BLOCK:]) + decryptor.finalize()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise _Undecipherable from None


def _unsigned_challenge(sealed: str, keys: Keys, limits: Limits) -> str:
    for key in keys.encrypt:
        try:
            event = strict_json.loads(_unseal(sealed, key), limits)
        except (_Undecipherable, Malformed):
            continue
        if (
            isinstance(event, dict)
            and event.get("type") == "url_verification"
            and isinstance(event.get("challenge"), str)
            and _known(event.get("token"), keys.tokens)
        ):
            return _challenge(event)
    raise Unauthenticated("unsigned")


def _challenge(event: dict[str, Any]) -> str:
    challenge = event.get("challenge")
    if not isinstance(challenge, str):
        raise Malformed("challenge")
    return challenge


def _authentic_object(data: bytes, limits: Limits) -> dict[str, Any]:
    event = strict_json.loads(data, limits)
    if not isinstance(event, dict):
        raise Malformed("not_an_object")
    return event


def _known(token: object, tokens: Iterable[bytes]) -> bool:
    given = token.encode("utf-8", "replace") if isinstance(token, str) else b""
    found = False
    for live in tokens:
        found |= hmac.compare_digest(live, given)
    return found


def _app_ids(event: dict[str, Any]) -> list[object]:
    """Every place where an event says which app it is for: the v2 header, the v1 event."""
    places = (event.get("header"), event.get("event") if event.get("schema") != "2.0" else None)
    return [place["app_id"] for place in places if isinstance(place, dict) and "app_id" in place]


__all__ = ["NEWEST", "OLDEST", "Keys", "Opened", "Refused", "open_request", "sign"]
