"""What the two signed channels share: when a timestamp is believed, and how signatures are compared.

Compared as the encoded text, over bytes: decoding a stranger's base64 or hex first would accept several
spellings of one signature, and `compare_digest` on text raises for anything that is not ASCII.
"""

import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from herald_gateway.channels.base import Unauthenticated
from herald_runtime.secrets import SecretFolder

TOLERANCE_SECONDS = 300
MOST_SIGNATURES = 16
_LOOK_SECONDS = 1.0
_DIGITS = re.compile(r"[0-9]{1,12}")  # not str.isdigit: it takes superscripts and every script's digits


def check_timestamp(value: str | None, now: datetime) -> str:
    """The timestamp (Unix seconds) as it was signed. Raises Unauthenticated."""
    if not value:
        raise Unauthenticated("timestamp_missing")
    if not _DIGITS.fullmatch(value):
        raise Unauthenticated("timestamp_malformed")
    if abs(now.timestamp() - int(value)) > TOLERANCE_SECONDS:
        raise Unauthenticated("timestamp_out_of_range")
    return value


def any_match(given: Sequence[str], expected: Iterable[str]) -> bool:
    """True when one of the given signatures is one of the expected. Takes equally long whichever it is."""
    expected_bytes = [signature.encode() for signature in expected]
    found = False
    for candidate in given:
        encoded = candidate.encode()
        for signature in expected_bytes:
            found |= hmac.compare_digest(encoded, signature)
    return found


class LiveKeys:
    """The keys that are good at the moment: the current one, and the previous one while a rotation lasts.

    Looked up at most once a second of the requests' own clock: a rotation takes minutes, a request microseconds.
    """

    def __init__(self, folder: SecretFolder, name: str, read: Callable[[bytes], bytes]) -> None:
        """`read` turns a file's content into a key. Raises ConfigurationError, as `at` does."""
        self._folder = folder
        self._name = name
        self._read = read
        self._looked: datetime | None = None
        self._keys = self._look()

    def at(self, now: datetime) -> tuple[bytes, ...]:
        if self._looked is None or abs((now - self._looked).total_seconds()) >= _LOOK_SECONDS:
            self._keys = self._look()
            self._looked = now
        return self._keys

    def _look(self) -> tuple[bytes, ...]:
        return tuple(self._read(value) for value in self._folder.live(self._name))
