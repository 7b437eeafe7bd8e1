"""By which names may the chat page be asked for?

A page of a stranger can have its own name resolve to our address (DNS rebinding). To a browser it then is the same
origin as the chat page, so neither the cookie's SameSite nor the Origin header tells them apart; only the Host does.
Webhooks need no such guard: they prove with a signature who sent them.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from herald_contracts.errors import ConfigurationError
from herald_gateway.channels.base import Refused

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


class Misdirected(Refused):
    """Asked for by a name that is not ours (RFC 9110, 15.5.20)."""

    default_status: ClassVar[int] = 421


class Hosts:
    """The names and addresses under which the page is public; none given: any."""

    def __init__(self, public: Sequence[str]) -> None:
        self._public = frozenset(map(_checked, public))

    def __bool__(self) -> bool:
        return bool(self._public)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises Misdirected unless there is one Host header, and it is one of ours whatever its port."""
        found = [value for name, value in headers if name == b"host"]
        if self._public and (len(found) != 1 or host_of(found[0].decode("latin-1")) not in self._public):
            raise Misdirected("wrong_host")


def host_of(authority: str) -> str:
    """The host of `host[:port]` in its one form: lower case, no brackets, no closing dot. "" for what is none."""
    text = authority.strip().lower()
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        port = port or ":"
        return _canonical(host) if closed and port.startswith(":") and _is_port(port[1:]) else ""
    host, _, port = text.partition(":")
    host = host.removesuffix(".")
    return _canonical(host) if _is_port(port) and _NAME.fullmatch(host) else ""


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit())


def _canonical(host: str) -> str:
    """Addresses have many spellings, of which browsers send one; names have one."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host if _NAME.fullmatch(host) else ""


def _checked(public: str) -> str:
    host = _canonical(public.strip().lower().removeprefix("[").removesuffix("]").removesuffix("."))
    if not host:
        raise ConfigurationError(
            f"{public!r} is not a host", path="public_hosts", hint="a name or an address, without scheme and port"
        )
    return host
