"""Ports: free ones, outside the kernel's own range, each given once; a taken one is named with who has it."""

import os
import socket
from collections.abc import Iterator

import pytest

from herald_cli.ports import Ports, is_free, owner
from herald_contracts.errors import ConfigurationError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_picks_are_free_distinct_and_below_the_ephemeral_range() -> None:
    ports = Ports()
    picked = [ports.pick() for _ in range(50)]
    assert len(set(picked)) == 50
    assert all(20_000 <= port < 60_000 for port in picked)
    assert all(is_free(port) for port in picked)


def test_the_preferred_one_when_it_is_free(taken: int) -> None:
    ports = Ports()
    wish = Ports().pick()
    assert ports.pick(wish) == wish
    assert ports.pick(wish) != wish, "each is given once"
    other = Ports().pick()
    assert Ports().pick(None, taken, other) == other


def test_a_taken_port_is_named_with_its_owner(taken: int) -> None:
    assert not is_free(taken)
    assert owner(taken).endswith(f"(pid {os.getpid()})")
    with pytest.raises(ConfigurationError, match=f"port {taken} on 127.0.0.1 is taken by") as refused:
        Ports().exactly(taken, host="127.0.0.1", path="spec.local.port")
    assert refused.value.path == "spec.local.port"
    assert str(os.getpid()) in str(refused.value)
    assert "leave the field out" in refused.value.hint


def test_a_free_port_has_no_owner() -> None:
    port = Ports().pick()
    assert owner(port) == ""
    assert Ports().exactly(port, host="127.0.0.1", path="x") == port


def test_an_address_that_is_not_ours_is_not_free() -> None:
    assert not is_free(Ports().pick(), "192.0.2.1")
