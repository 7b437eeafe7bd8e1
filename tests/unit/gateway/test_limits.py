"""Refusals that need no more than the headers, and the counting of connections."""

import pytest

from herald_contracts.settings import Limits
from herald_gateway.channels.base import Refused
from herald_gateway.limits import Connections, Memory, check_headers, is_json

HOST = (b"host", b"gateway.test")
JSON = (b"content-type", b"application/json")
LIMITS = Limits(body_bytes=1_024)


@pytest.mark.parametrize(
    ("method", "headers", "status", "reason"),
    [
        ("POST", [JSON], 400, "host_header"),
        ("POST", [HOST, HOST, JSON], 400, "host_header"),
        ("POST", [HOST, (b"host", b"other.test"), JSON], 400, "host_header"),
        ("POST", [HOST, JSON, JSON], 400, "duplicate_header"),
        ("POST", [HOST], 415, "content_type"),
        ("POST", [HOST, (b"content-type", b"")], 415, "content_type"),
        ("POST", [HOST, (b"content-type", b"text/html")], 415, "content_type"),
        ("POST", [HOST, (b"content-type", b"text/plain")], 415, "content_type"),
        ("POST", [HOST, (b"content-type", b"application/x-www-form-urlencoded")], 415, "content_type"),
        ("POST", [HOST, (b"content-type", b"application/jsonp")], 415, "content_type"),
        ("POST", [HOST, (b"content-type", b"application/json; charset=utf-16")], 415, "content_type"),
        ("POST", [HOST, (b"content-type", b"application/json;charset=latin1")], 415, "content_type"),
        ("POST", [HOST, JSON, (b"content-encoding", b"gzip")], 415, "content_encoding"),
        ("POST", [HOST, JSON, (b"content-encoding", b"identity, br")], 415, "content_encoding"),
        ("POST", [HOST, JSON, (b"content-length", b"1025")], 413, "body_too_large"),
        ("POST", [HOST, JSON, (b"content-length", b"9" * 40)], 413, "body_too_large"),
        ("GET", [HOST, HOST], 400, "host_header"),
    ],
)
def test_refused_by_headers(method: str, headers: list[tuple[bytes, bytes]], status: int, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        check_headers(method, headers, LIMITS)
    assert (refused.value.status, refused.value.reason) == (status, reason)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", [HOST, JSON]),
        ("POST", [HOST, JSON, (b"content-length", b"1024")]),
        ("POST", [HOST, JSON, (b"content-encoding", b"Identity")]),
        ("GET", [HOST]),
    ],
)
def test_let_through(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    check_headers(method, headers, LIMITS)


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json ; charset="UTF-8"',
        b"application/json; v=2",
    ],
)
def test_json_in_all_its_spellings(content_type: bytes) -> None:
    assert is_json(content_type)


def test_connections_are_capped_per_address_and_in_all() -> None:
    connections = Connections(Limits(connections=3, connections_per_address=2))
    assert [connections.enter("a") for _ in range(3)] == ["", "", "connections_per_address"]
    assert connections.enter("b") == ""
    assert connections.enter("c") == "connections"
    connections.leave("a")
    assert connections.enter("c") == ""
    connections.leave("a")
    connections.leave("b")
    connections.leave("c")
    assert connections.total == 0
    assert [connections.enter("a") for _ in range(2)] == ["", ""]


def test_an_exempt_address_counts_only_in_all() -> None:
    connections = Connections(Limits(connections=3, connections_per_address=1), exempt=lambda address: address == "p")
    assert [connections.enter("p") for _ in range(4)] == ["", "", "", "connections"]


def test_all_bodies_together_have_a_limit() -> None:
    memory = Memory(100)
    with memory.share() as first:
        first.take(60)
        with memory.share() as second:
            second.take(20)
            with pytest.raises(Refused) as refused:
                second.take(21)
        assert (refused.value.status, refused.value.reason) == (503, "memory")
        first.take(40)
    assert memory.held == 0
