"""Which address a request counts against."""

import pytest

from herald_contracts.errors import ConfigurationError
from herald_gateway.addresses import Proxies

PROXIES = Proxies(["10.0.0.1", "192.168.0.0/16", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", [b"198.51.100.1"], "203.0.113.9"),  # a stranger's claim
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the left one was forged
        ("10.0.0.1", [b"6.6.6.6", b"198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"198.51.100.1, 192.168.3.4"], "198.51.100.1"),  # through two of ours
        ("10.0.0.1", [b"192.168.3.4, 192.168.3.5"], "192.168.3.4"),
        ("10.0.0.1", [b"198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", [b"[2001:db9::1]:4711"], "2001:db9::1"),
        ("10.0.0.1", [b"2001:0DB9::0001"], "2001:db9::1"),
        ("10.0.0.1", [b"unknown"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1, evil\xff"], "10.0.0.1"),
        ("10.0.0.1", [b""], "10.0.0.1"),
        ("::ffff:10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("", [b"198.51.100.1"], ""),
    ],
)
def test_client(peer: str, forwarded: list[bytes], client: str) -> None:
    assert PROXIES.client(peer, forwarded) == client


def test_without_proxies_nobody_is_believed() -> None:
    assert not Proxies([])
    assert Proxies([]).client("10.0.0.1", [b"198.51.100.1"]) == "10.0.0.1"


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="trusted_proxies"):
        Proxies(["the ingress"])
