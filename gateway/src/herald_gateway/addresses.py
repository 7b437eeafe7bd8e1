"""Whose request is this, when proxies stand in between?

A forwarded address is believed only when the peer is a proxy that the settings name, and then only the
right-most hop that is not itself such a proxy: everything to the left of it was written by a stranger.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from herald_contracts.errors import ConfigurationError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """The trusted proxies: addresses or networks in CIDR form."""

    def __init__(self, trusted: Sequence[str]) -> None:
        try:
            self._networks: tuple[Network, ...] = tuple(ipaddress.ip_network(entry, strict=False) for entry in trusted)
        except ValueError:
            raise ConfigurationError(
                "not an address or a network", path="trusted_proxies", hint="such as 10.0.0.7 or 10.0.0.0/8"
            ) from None
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        if not self._networks:
            return False
        known = self._known.get(address)
        if known is None:
            known = self._matches(address)
            if len(self._known) < 10_000:
                self._known[address] = known
        return known

    def client(self, peer: str, forwarded_for: Iterable[bytes]) -> str:
        """The client's address, given the peer's and the X-Forwarded-For headers in order."""
        if not self.trusts(peer):
            return peer
        hops = [hop.strip() for value in forwarded_for for hop in value.decode("latin-1").split(",")]
        client = peer
        for hop in reversed(hops):
            address = _parse(hop)
            if address is None:
                break
            client = address
            if not self.trusts(address):
                break
        return client

    def _matches(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self._networks)


def _parse(hop: str) -> str | None:
    """An address without port or brackets, in its canonical form."""
    text = hop
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
