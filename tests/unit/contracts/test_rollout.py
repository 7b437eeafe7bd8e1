"""The rollout record: what may stand in it, and what is refused by name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from herald_contracts.errors import MalformedMessage
from herald_contracts.rollout import Rollout
from herald_contracts.streams import topology
from herald_contracts.subjects import Names

GOOD: dict[str, Any] = {"schema": "1.0", "active": "v1-abc", "generation": 3}


def wire(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


@pytest.mark.parametrize(
    "record",
    [
        Rollout(active="v1-abc", generation=1),
        Rollout(active="a", candidate="v1-b", stable="v1-c", generation=7),
        Rollout(active="a" * 63, generation=2**40),
    ],
)
def test_round_trip(record: Rollout) -> None:
    assert Rollout.from_wire(record.to_wire()) == record


def test_a_newer_minor_version_is_readable() -> None:
    record = Rollout.from_wire(wire(schema="1.7", canary={"percent": 5}))
    assert (record.active, record.generation) == ("v1-abc", 3)


def test_what_follows_says_so() -> None:
    record = Rollout(active="a", candidate="b", generation=3)
    assert record.then("b", stable="a") == Rollout(active="b", stable="a", generation=4)
    with pytest.raises(ValidationError):
        record.then("")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"active": ""}, "active"),
        ({"active": " v1-abc"}, "active"),
        ({"active": "v1-abc\n"}, "active"),
        ({"active": "-v1"}, "active"),
        ({"active": "a" * 64}, "active"),
        ({"active": None}, "active"),
        ({"candidate": "a b"}, "candidate"),
        ({"stable": 7}, "stable"),
        ({"generation": 0}, "generation"),
        ({"generation": -1}, "generation"),
        ({"generation": 1.5}, "generation"),
        ({"generation": "3"}, "generation"),
        ({"generation": True}, "generation"),
        ({"schema": "2.0"}, "schema 2.0"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], where: str) -> None:
    with pytest.raises(MalformedMessage, match="Rollout: ") as caught:
        Rollout.from_wire(wire(**change))
    assert where in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{", b"v1-abc", b"{}", b"\xff\xfe"])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage, match="Rollout: "):
        Rollout.from_wire(data)


@given(st.binary(max_size=400))
def test_garbage_raises_only_our_error(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        Rollout.from_wire(data)


def test_no_two_deployments_share_a_bucket_whatever_they_are_called() -> None:
    seen: set[str] = set()
    for name in ("a", "a-deliveries", "a-rollout", "a-rollout-deliveries"):
        buckets = {bucket.name for bucket in topology(Names("default", name)).buckets}
        assert not buckets & seen
        seen |= buckets
