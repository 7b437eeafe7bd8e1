"""What the page posts, and what strangers post in its place."""

import contextlib
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_contracts import identity
from herald_contracts.settings import Limits
from herald_gateway.channels.base import Inbound, Refused
from herald_gateway.channels.web import posting
from herald_gateway.channels.web.session import Session

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SESSION = Session("s" * 22)
GOOD = {"id": "e1", "chat": "", "text": "Hello"}


def post(value: Any, session: Session = SESSION) -> Inbound:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return posting.parse(body, session, "web", NOW, Limits())


def test_a_post_becomes_a_message_of_this_session() -> None:
    body = json.dumps({**GOOD, "chat": "c2", "text": " **Hi** \U0001f600\n"}).encode()
    inbound = post(body)
    (message,) = inbound.messages
    chat, event = f"{SESSION.id}.c2", f"{SESSION.id}.e1"
    assert (message.sender.id, message.chat, message.event_id) == (SESSION.id, chat, event)
    assert message.conversation == identity.conversation_id("web", chat, None)
    assert message.id == identity.message_id("web", event)
    assert message.content == " **Hi** \U0001f600\n"
    assert message.received_at == message.timestamp == NOW
    assert message.raw is not None
    assert message.raw.sha256 == hashlib.sha256(body).hexdigest()
    assert inbound.answer.status == 202
    assert json.loads(inbound.answer.body) == {"accepted": True, "id": "e1", "message": message.id}


def test_the_same_id_is_the_same_message_and_another_session_s_is_not() -> None:
    first, again, other = post(GOOD), post(GOOD), post(GOOD, Session("t" * 22))
    assert first.messages == again.messages
    assert first.messages[0].id != other.messages[0].id
    assert first.messages[0].conversation != other.messages[0].conversation


def test_another_conversation_keeps_the_sender() -> None:
    (one,), (two,) = post(GOOD).messages, post({**GOOD, "id": "e2", "chat": "c2"}).messages
    assert one.sender == two.sender
    assert one.conversation != two.conversation


@pytest.mark.parametrize(
    ("posted", "status", "reason"),
    [
        ([], 400, "not_an_object"),
        ("text", 400, "not_an_object"),
        (b"{", 400, "invalid_json"),
        (b'{"id": "e1", "id": "e2", "chat": "", "text": "x"}', 400, "duplicate_key"),
        (b'{"id": "e1", "chat": "", "text": "\\u0000"}', 400, "nul_character"),
        ({"chat": "", "text": "x"}, 400, "bad_id"),
        ({**GOOD, "id": ""}, 400, "bad_id"),
        ({**GOOD, "id": "a.b"}, 400, "bad_id"),
        ({**GOOD, "chat": "../x"}, 400, "bad_id"),
        ({**GOOD, "chat": 7}, 400, "bad_id"),
        ({**GOOD, "text": ""}, 400, "empty_text"),
        ({**GOOD, "text": " \n\t "}, 400, "empty_text"),
        ({**GOOD, "text": None}, 400, "empty_text"),
        ({**GOOD, "sender": "someone else"}, 400, "unknown_field"),
        ({**GOOD, "text": "x" * (posting.MAX_CHARACTERS + 1)}, 413, "text_too_long"),
    ],
)
def test_refused(posted: Any, status: int, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        post(posted)
    assert (caught.value.status, caught.value.reason) == (status, reason)


def test_the_longest_message_fits() -> None:
    text = "\U0001f600" * posting.MAX_CHARACTERS
    assert post({**GOOD, "text": text}).messages[0].content == text


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "chat", "text", "x"]) | st.text(), inner),
)


@given(_json | st.fixed_dictionaries({"id": _json, "chat": _json, "text": _json}))
def test_any_json_is_a_message_or_refused(value: Any) -> None:
    with contextlib.suppress(Refused):
        assert len(post(value).messages) == 1


@given(st.binary())
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        post(body)
