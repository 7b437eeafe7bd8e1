"""The wire between gateway and page."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_contracts.messages import LiveUpdate, Message, Reply, Sender
from herald_gateway.channels.web import events
from herald_gateway.channels.web.session import Session

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SESSION = Session("s" * 22)


def decode(raw: bytes) -> tuple[str | None, dict[str, object]]:
    """As a browser does (WHATWG HTML, 9.2.6), for exactly one event."""
    assert raw.endswith(b"\n\n")
    place, data = None, None
    for line in raw.decode().removesuffix("\n\n").replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        field, _, value = line.partition(": ")
        if field == "id":
            place = value
        elif field == "data":
            assert data is None
            data = value
        else:
            raise AssertionError(line)
    assert data is not None
    return place, json.loads(data)


def message(text: str) -> Message:
    return Message(
        id="m1",
        event_id=SESSION.event("e1"),
        channel="web",
        conversation="c1",
        chat=SESSION.id,
        sender=Sender(id=SESSION.id, name="<b>x</b>"),
        content=text,
        timestamp=NOW,
        received_at=NOW,
        platform_message_id=SESSION.event("e1"),
    )


def reply(text: str) -> Reply:
    return Reply(
        id="r1",
        turn="t1",
        channel="web",
        conversation="c1",
        chat=SESSION.id,
        event_id=SESSION.event("e1"),
        kind="failure",
        content=text,
        created_at=NOW,
    )


def test_a_message_is_shown_as_typed() -> None:
    place, event = decode(events.message(message("**a** <b>"), 7, SESSION).encode())
    assert place == "7"
    assert event == {
        "type": "message",
        "id": "e1",
        "at": "2026-01-02T03:04:05+00:00",
        "text": "**a** <b>",
        "html": '<p class="verbatim" dir="auto">**a** &lt;b&gt;</p>\n',
    }


def test_a_reply_is_rendered_and_names_what_it_answers() -> None:
    place, event = decode(events.reply(reply("**a** <b>"), 8, SESSION).encode())
    assert place == "8"
    assert event == {
        "type": "reply",
        "id": "r1",
        "to": "e1",
        "kind": "failure",
        "at": "2026-01-02T03:04:05+00:00",
        "text": "**a** <b>",
        "html": '<p dir="auto"><strong>a</strong> &lt;b&gt;</p>\n',
    }


def test_a_live_update_has_no_place_to_resume_from() -> None:
    update = LiveUpdate(
        turn="t1",
        reply="r1",
        channel="web",
        conversation="c1",
        chat=SESSION.id,
        event_id=SESSION.event("e1"),
        sequence=3,
        state="retrying",
        text="a *b*",
    )
    place, event = decode(events.live(update, SESSION))
    assert place is None
    assert event == {
        "type": "live",
        "id": "r1",
        "to": "e1",
        "state": "retrying",
        "text": "a *b*",
        "html": '<p dir="auto">a <em>b</em></p>\n',
    }


@given(st.text())
def test_no_text_breaks_out_of_its_event(text: str) -> None:
    for durable in (events.message(message(text), 1, SESSION), events.reply(reply(text), 1, SESSION)):
        _, event = decode(durable.encode())
        assert event["text"] == text


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (events.caught_up(shortened=True), {"type": "caught-up", "shortened": True}),
        (events.reset(), {"type": "reset"}),
        (events.beat(), {"type": "beat"}),
        (events.ending("lost"), {"type": "ending", "reason": "lost"}),
    ],
)
def test_signs(raw: bytes, event: dict[str, object]) -> None:
    assert decode(raw) == (None, event)


@pytest.mark.parametrize(
    ("header", "query", "place"),
    [
        (None, None, 0),
        ("12", "3", 12),
        (None, "3", 3),
        ("", "3", 3),
        ("x", "3", 3),
        ("-1", None, 0),
        ("1.5", None, 0),
        ("١٢", None, 0),
        ("9" * 18, None, int("9" * 18)),
        ("9" * 19, None, 0),
        (None, "1; DROP", 0),
    ],
)
def test_last_seen(header: str | None, query: str | None, place: int) -> None:
    assert events.last_seen(header, query) == place


@pytest.mark.parametrize(
    ("render_seconds", "sent_bytes", "pause"),
    [(0.0, 0, 0.05), (0.001, 1_000, 0.05), (0.02, 1_000, 0.2), (0.001, 100_000, 0.5)],
)
def test_a_long_answer_is_shown_less_often(render_seconds: float, sent_bytes: int, pause: float) -> None:
    assert events.pause_after_live(render_seconds, sent_bytes) == pytest.approx(pause)
