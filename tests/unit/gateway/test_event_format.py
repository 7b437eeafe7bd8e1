"""Herald's JSON event: which field is wrong is said by its name."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_contracts.identity import conversation_id
from herald_gateway.channels import event_format
from herald_gateway.channels.base import Malformed
from tests.unit.gateway.samples import EVENT, NOW, body, message, reply, request


def test_every_field_arrives() -> None:
    parsed = message(thread="t-1", replyTo="event-0", type="edit", target="event-0")
    assert parsed.channel == "hook"
    assert parsed.kind == "edit"
    assert (parsed.chat, parsed.thread, parsed.reply_to, parsed.target) == ("room-1", "t-1", "event-0", "event-0")
    assert parsed.conversation == conversation_id("hook", "room-1", "t-1")
    assert (parsed.sender.id, parsed.sender.name) == ("user-1", "Ada")
    assert parsed.timestamp == datetime(2026, 11, 22, 11, 59, 58, tzinfo=UTC)
    assert parsed.received_at == NOW
    assert parsed.raw is not None
    assert parsed.raw.size == len(body(thread="t-1", replyTo="event-0", type="edit", target="event-0"))


def test_what_may_be_left_out() -> None:
    parsed = message(timestamp=..., thread=..., sender={"id": "u"})
    assert parsed.timestamp == NOW
    assert parsed.thread is None
    assert parsed.sender.name == ""
    assert parsed.kind == "message"


def test_a_recall_needs_no_text() -> None:
    assert message(type="recall", target="event-0", text=...).content == ""


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"id": ...}, "field_missing", "id"),
        ({"id": None}, "field_missing", "id"),
        ({"id": 7}, "field_type", "id"),
        ({"id": ""}, "field_length", "id"),
        ({"id": "x" * 513}, "field_length", "id"),
        ({"id": "a\nb"}, "field_value", "id"),
        ({"conversation": ...}, "field_missing", "conversation"),
        ({"conversation": ["x"]}, "field_type", "conversation"),
        ({"thread": 1}, "field_type", "thread"),
        ({"thread": ""}, "field_length", "thread"),
        ({"sender": ...}, "field_missing", "sender"),
        ({"sender": "ada"}, "field_type", "sender"),
        ({"sender": {}}, "field_missing", "sender.id"),
        ({"sender": {"id": 1}}, "field_type", "sender.id"),
        ({"sender": {"id": "u", "name": 1}}, "field_type", "sender.name"),
        ({"text": ...}, "field_missing", "text"),
        ({"text": None}, "field_missing", "text"),
        ({"text": 5}, "field_type", "text"),
        ({"text": ""}, "field_length", "text"),
        ({"text": " \n\t"}, "field_length", "text"),
        ({"text": "x" * 200_001}, "field_length", "text"),
        ({"timestamp": 1700000000}, "field_type", "timestamp"),
        ({"timestamp": "yesterday"}, "field_value", "timestamp"),
        ({"timestamp": "2026-11-22"}, "field_value", "timestamp"),
        ({"timestamp": "2026-11-22T10:00:00"}, "field_value", "timestamp"),
        ({"timestamp": "2026-13-22T10:00:00Z"}, "field_value", "timestamp"),
        ({"timestamp": "2026-W01-1T10:00:00Z"}, "field_value", "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+23:59"}, "field_value", "timestamp"),
        ({"timestamp": "9999-12-31T23:59:59-23:59"}, "field_value", "timestamp"),
        ({"type": "shout"}, "field_value", "type"),
        ({"type": ["message"]}, "field_value", "type"),
        ({"type": "edit"}, "field_missing", "target"),
        ({"type": "recall", "text": ...}, "field_missing", "target"),
        ({"target": 4}, "field_type", "target"),
        ({"replyTo": {}}, "field_type", "replyTo"),
    ],
)
def test_the_wrong_field_is_named(changes: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(Malformed) as refused:
        message(**changes)
    assert (refused.value.reason, refused.value.field) == (reason, field)


@pytest.mark.parametrize("event", [[], "text", 1, None, True])
def test_only_an_object_is_an_event(event: Any) -> None:
    with pytest.raises(Malformed, match="not_an_object"):
        event_format.parse(event, channel="hook", request=request(b""))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-22T12:00:00+02:00", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22t12:00:00.5z", datetime(2026, 11, 22, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-22T12:00:00.123456789Z", datetime(2026, 11, 22, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-11-22 12:00:00-00:30", datetime(2026, 11, 22, 12, 30, tzinfo=UTC)),
    ],
)
def test_timestamps_are_kept_in_utc(written: str, meant: datetime) -> None:
    assert message(timestamp=written).timestamp == meant


def test_a_long_or_odd_name_is_cut_not_refused() -> None:
    assert message(sender={"id": "u", "name": "A\nB" + "x" * 400}).sender.name == ("A B" + "x" * 400)[:256]


@pytest.mark.parametrize("text", ["\N{GRINNING FACE}", "שלום \u202e", "a\u200bb", "x" * 200_000])
def test_text_arrives_as_it_was(text: str) -> None:
    assert message(text=text).content == text


def test_a_reply_in_the_public_format() -> None:
    zone = timezone(timedelta(hours=8))
    written = json.loads(event_format.reply_body(reply(content="é", created_at=NOW.astimezone(zone))))
    assert written == {
        "id": "r" + "a" * 26,
        "event": "event-1",
        "conversation": "room-1",
        "thread": None,
        "replyTo": "event-1",
        "kind": "answer",
        "text": "é",
        "createdAt": "2026-11-22T12:00:00Z",
    }


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
VALUES = SCALARS | st.dictionaries(st.text(max_size=3), st.text())
FIELDS = st.sampled_from([*EVENT, "type", "target", "replyTo"])


@given(st.dictionaries(FIELDS, VALUES))
def test_whatever_comes_only_malformed_is_raised(changes: dict[str, Any]) -> None:
    try:
        event_format.parse({**EVENT, **changes}, channel="hook", request=request(b"x"))
    except Malformed as e:
        assert e.reason.startswith("field_")  # noqa: PT017
