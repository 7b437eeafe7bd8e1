"""By which name the page was asked for: every spelling of ours, and nobody else's."""

import pytest

from herald_contracts.errors import ConfigurationError
from herald_gateway.hosts import Hosts, Misdirected, host_of

LOCAL = Hosts(["localhost", "127.0.0.1", "::1", "Chat.Example.com"])


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("localhost", "localhost"),
        ("localhost:8080", "localhost"),
        ("LOCALHOST:", "localhost"),
        ("localhost.:8080", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]:8080", "::1"),
        ("a_b.example-1.com", "a_b.example-1.com"),
        ("", ""),
        (":8080", ""),
        ("::1", ""),
        ("[::1", ""),
        ("[::1]evil", ""),
        ("[]:1", ""),
        ("localhost:80:80", ""),
        ("localhost:8o", ""),
        ("user@localhost", ""),
        ("localhost/", ""),
        ("localhost, evil.example", ""),
        ("localhost\x00", ""),
        ("l\u00f6calhost", ""),
        ("127.0.0.1:²", ""),
    ],
)
def test_the_host_in_a_header(authority: str, host: str) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize("host", [b"localhost", b"LocalHost:8080", b"127.0.0.1:1", b"[::1]:5", b"chat.example.com"])
def test_ours_pass_whatever_the_port(host: bytes) -> None:
    LOCAL.check([(b"accept", b"*/*"), (b"host", host)])


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"evil.example")],
        [(b"host", b"localhost.evil.example")],
        [(b"host", b"127.0.0.1.evil.example:8080")],
        [(b"host", b"127.0.0.2")],
        [(b"host", b"")],
        [(b"host", b"\xff")],
        [],
        [(b"host", b"localhost"), (b"host", b"evil.example")],
        [(b"host", b"localhost"), (b"host", b"localhost")],
    ],
)
def test_others_do_not(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Misdirected) as refused:
        LOCAL.check(headers)
    assert (refused.value.status, refused.value.reason) == (421, "wrong_host")


def test_none_given_is_no_check() -> None:
    assert not Hosts([])
    Hosts([]).check([(b"host", b"evil.example")])


@pytest.mark.parametrize(
    "public", ["", "https://chat.example.com", "chat.example.com:443", "a b", "*", "*.example.com"]
)
def test_what_is_no_host_is_refused_at_the_start(public: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a host"):
        Hosts([public])
