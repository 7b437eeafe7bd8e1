"""The wire format: round trips, readable by older workers, refused when it is another major version."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_contracts.errors import MalformedMessage
from herald_contracts.messages import Message, RawReference, Receipt, Reply, Sender

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def message(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "id": "m1",
        "event_id": "e1",
        "channel": "hooks",
        "conversation": "c1",
        "chat": "room",
        "sender": Sender(id="ada", name="Ada"),
        "content": "**hi** 👋 \u202eعربي",
        "timestamp": NOW,
        "received_at": NOW,
        "platform_message_id": "p1",
        "raw": RawReference(sha256="0" * 64, size=3),
    }
    return Message(**(fields | changes))


def test_round_trip() -> None:
    assert Message.from_wire(message().to_wire()) == message()


def test_a_newer_minor_version_is_readable() -> None:
    wire = json.loads(message().to_wire()) | {"schema": "1.9", "mood": "new", "sender": {"id": "a", "shoe": 43}}
    assert Message.from_wire(json.dumps(wire).encode()).sender.id == "a"


@pytest.mark.parametrize("schema", ["2.0", "0.9", "10.0"])
def test_another_major_version_is_refused(schema: str) -> None:
    wire = json.loads(message().to_wire()) | {"schema": schema}
    with pytest.raises(MalformedMessage, match=f"schema {schema}"):
        Message.from_wire(json.dumps(wire).encode())


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"event_id": ""}, "event_id"),
        ({"timestamp": "2026-11-22T12:00:00"}, "timestamp"),
        ({"content": "x" * 200_001}, "content"),
        ({"kind": "whisper"}, "kind"),
        ({"sender": {}}, "sender.id"),
    ],
)
def test_a_bad_field_is_named_and_not_quoted(change: dict[str, Any], where: str) -> None:
    wire = json.loads(message().to_wire()) | change
    with pytest.raises(MalformedMessage) as caught:
        Message.from_wire(json.dumps(wire).encode())
    assert where in str(caught.value)
    assert "x" * 10 not in str(caught.value)


@given(st.binary(max_size=400))
def test_garbage_raises_only_our_error(data: bytes) -> None:
    for kind in (Message, Reply, Receipt):
        with pytest.raises(MalformedMessage):
            kind.from_wire(data)
