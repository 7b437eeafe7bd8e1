"""What a stranger may cost us, as pure decisions.

Headers are judged here, before a byte of the body is read. What must be judged earlier still, while bytes
arrive, is in `protocol`; what is judged after verification is in `strict_json` and the channels.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from herald_contracts.settings import Limits
from herald_gateway.channels.base import Malformed, Refused, TooLarge, WrongType

_JSON = frozenset(
    (
        b"application/json",
        b"application/json; charset=utf-8",
        b"application/json;charset=utf-8",
        b"application/json; charset=UTF-8",
    )
)
BODIES_BYTES = 256 * 2**20  # held at the same time, over all requests
_WITHOUT_BODY = frozenset(("GET", "HEAD"))


class NotAllowed(Refused):
    """The channel does not take this method."""

    default_status = 405


def check_headers(method: str, headers: Iterable[tuple[bytes, bytes]], limits: Limits) -> None:
    """Refuse a webhook request by its headers (lower-case names). Raises Refused.

    httptools lets two Host headers and none pass (measured with 0.9); whoever is in front may have routed by
    the other one.
    """
    hosts = 0
    content_type: bytes | None = None
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"content-type":
            if content_type is not None:
                raise Malformed("duplicate_header")
            content_type = value
        elif name == b"content-length":
            # Only a first guess: what is really read is counted too.
            if value.isdigit() and int(value[:20]) > limits.body_bytes:
                raise TooLarge("body_too_large")
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise WrongType("content_encoding")
    if hosts != 1:
        raise Malformed("host_header")
    if method not in _WITHOUT_BODY and (content_type is None or not is_json(content_type)):
        raise WrongType("content_type")


def is_json(content_type: bytes) -> bool:
    """True for application/json, with no other character set than UTF-8."""
    if content_type in _JSON:
        return True
    kind, *parameters = content_type.lower().split(b";")
    if kind.strip() != b"application/json":
        return False
    for parameter in parameters:
        key, _, value = parameter.strip().partition(b"=")
        if key == b"charset" and value.strip(b'"') not in (b"utf-8", b"utf8"):
            return False
    return True


class Connections:
    """Counts open connections, in all and per address."""

    def __init__(self, limits: Limits, exempt: Callable[[str], bool] = lambda _: False) -> None:
        """`exempt` is true for addresses that many clients share, such as a trusted proxy's."""
        self._limits = limits
        self._exempt = exempt
        self._by_address: Counter[str] = Counter()
        self.total = 0

    def enter(self, address: str) -> str:
        """Count one in and return "", or return the reason why there is no room for it."""
        if self.total >= self._limits.connections:
            return "connections"
        if self._by_address[address] >= self._limits.connections_per_address and not self._exempt(address):
            return "connections_per_address"
        self.total += 1
        self._by_address[address] += 1
        return ""

    def leave(self, address: str) -> None:
        """Count one out that was let in."""
        self.total -= 1
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]


class Memory:
    """How many bytes of bodies may be held at the same time: many large ones at once are an attack, or end as one."""

    def __init__(self, most: int = BODIES_BYTES) -> None:
        self._most = most
        self.held = 0

    def share(self) -> "Share":
        """One request's part of it; given back at the end of the `with` block."""
        return Share(self)

    def take(self, size: int) -> None:
        """Raises Refused (503)."""
        if self.held + size > self._most:
            raise Refused("memory", status=503)
        self.held += size


class Share:
    __slots__ = ("_memory", "_taken")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._taken = 0

    def take(self, size: int) -> None:
        """Raises Refused (503) when all requests together hold too much."""
        self._memory.take(size)
        self._taken += size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._memory.held -= self._taken
