"""Any bytes at all become a turn or a reason, and never an exception."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_agent.deciding.reading import read
from herald_agent.deciding.turns import NewTurn, Unreadable
from herald_contracts.identity import turn_id, user_key
from herald_contracts.messages import Message, Sender
from tests.unit.agent.values import message


def test_a_message_becomes_a_turn() -> None:
    written = message("e1", user="ann")
    turn = read(written.to_wire(), 7)
    assert isinstance(turn, NewTurn)
    assert (turn.turn, turn.in_seq, turn.event_id) == (turn_id(written.id), 7, "e1")
    assert turn.user_key == user_key("hmac", "ann")
    assert Message.from_wire(turn.payload.encode()) == written


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Message: (root)"),
        (b"\xff\xfe", "Message"),
        (b"[]", "Message"),
        (b"{}", "Message: id"),
        (message().to_wire().replace(b'"schema":"1.0"', b'"schema":"2.0"'), "schema 2.0 is not 1.x"),
    ],
)
def test_what_is_no_message_says_why(data: bytes, reason: str) -> None:
    entry = read(data, 3)
    assert isinstance(entry, Unreadable)
    assert reason in entry.reason
    assert (entry.in_seq, entry.payload) == (3, data)


@pytest.mark.parametrize(
    "written",
    [
        message("e\0"),
        message(sender=Sender(id="a\0b")),
        message(sender=Sender(id="ann", name="A\0nn")),
        message(content="\0"),
        message(platform_message_id="p\0"),
    ],
)
def test_what_the_database_cannot_store_is_refused_before_it_gets_there(written: Message) -> None:
    entry = read(written.to_wire(), 1)
    assert isinstance(entry, Unreadable)
    assert "NUL" in entry.reason


def test_the_letters_backslash_u0000_are_no_nul() -> None:
    assert isinstance(read(message(content="\\u0000").to_wire(), 1), NewTurn)


def test_a_newer_minor_version_is_read() -> None:
    newer = json.loads(message().to_wire()) | {"schema": "1.9", "mood": "good"}
    assert isinstance(read(json.dumps(newer).encode(), 1), NewTurn)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(data: bytes) -> None:
    assert isinstance(read(data, 1), NewTurn | Unreadable)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(field=st.sampled_from(sorted(json.loads(message().to_wire()))), value=_json)
def test_any_value_in_any_field(field: str, value: object) -> None:
    fields = json.loads(message().to_wire()) | {field: value}
    assert isinstance(read(json.dumps(fields).encode(), 1), NewTurn | Unreadable)
