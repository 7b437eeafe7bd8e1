"""Every kind of event, normalised."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from herald_contracts import identity
from herald_contracts.messages import Message, RawReference
from herald_gateway.channels.base import Malformed, Refused
from herald_gateway.channels.feishu.channel import FeishuChannel
from herald_gateway.channels.feishu.parse import parse
from tests.fakes.feishu import AT_BOT, BOT, Signed, mention, person
from tests.unit.gateway.feishu.requests import EVENTS, channel, receive, request

ANNA = mention("@_user_2", "ou_anna", "Anna")


@pytest.fixture
def feishu(tmp_path: Path) -> FeishuChannel:
    return channel(tmp_path)


def only(made: FeishuChannel, signed: Signed) -> Message:
    (message,) = receive(made, signed).messages
    return message


def test_a_private_message(feishu: FeishuChannel) -> None:
    signed = EVENTS.message("hello *you*", chat="oc_1", sender="ou_7", create_time="1700000000123")
    message = only(feishu, signed)
    assert message.event_id == message.platform_message_id == signed.message_id
    assert message.id == identity.message_id("feishu", signed.message_id)
    assert message.conversation == identity.conversation_id("feishu", "oc_1", None)
    assert (message.chat, message.thread, message.reply_to, message.target) == ("oc_1", None, None, None)
    assert (message.kind, message.sender.id, message.sender.kind) == ("message", "ou_7", "user")
    assert message.content == "hello *you*"
    assert message.timestamp == datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
    assert message.raw is not None
    assert message.raw.size == len(signed.body)


def test_one_message_pushed_as_two_events_is_one_message(feishu: FeishuChannel) -> None:
    first, second = (EVENTS.message("hello", message_id="om_same") for _ in range(2))
    assert first.event_id != second.event_id
    assert only(feishu, first).id == only(feishu, second).id


def test_threads_are_conversations_of_their_own(feishu: FeishuChannel) -> None:
    in_thread = only(feishu, EVENTS.message(chat="oc_1", thread_id="omt_1", root_id="om_root", parent_id="om_parent"))
    quoting = only(feishu, EVENTS.message(chat="oc_1", root_id="om_root", parent_id="om_parent"))
    assert (in_thread.thread, in_thread.reply_to) == ("omt_1", "om_parent")
    assert in_thread.conversation == identity.conversation_id("feishu", "oc_1", "omt_1")
    assert (quoting.thread, quoting.reply_to) == (None, "om_parent")
    assert quoting.conversation == identity.conversation_id("feishu", "oc_1", None)


@pytest.mark.parametrize(
    ("text", "mentions", "content"),
    [
        ("@_user_1 hello", [AT_BOT], "hello"),
        ("@_user_1hello", [AT_BOT], "hello"),
        ("  @_user_1 @_user_1  hello", [AT_BOT], "hello"),
        ("@_user_1", [AT_BOT], ""),
        ("hello @_user_1", [AT_BOT], "hello @Herald"),
        ("@_user_2 @_user_1 hello", [AT_BOT, ANNA], "@Anna @Herald hello"),
        ("@_user_1 ask @_user_2", [AT_BOT, ANNA], "ask @Anna"),
        ("@_user_1 ask @_user_3", [AT_BOT, ANNA], "ask @_user_3"),
        ("@_user_1 @_all hello", [AT_BOT], "@all hello"),
        ("@_user_1 @_user_12 hi", [AT_BOT, mention("@_user_12", "ou_z", "Zoe")], "@Zoe hi"),
    ],
)
def test_mentions_in_groups(feishu: FeishuChannel, text: str, mentions: list[dict[str, Any]], content: str) -> None:
    message = only(feishu, EVENTS.message(text, group=True, mentions=mentions))
    assert message.content == content
    assert [(m.id, m.agent) for m in message.mentions] == [(m["id"]["open_id"], m is AT_BOT) for m in mentions]


@pytest.mark.parametrize(
    "mentions",
    [None, [], [ANNA], [mention("@_user_1", "ou_other_bot", "Herald")], [mention("@_all", "", "all")], ["x"], "x"],
)
def test_group_messages_to_others_are_ignored(feishu: FeishuChannel, mentions: Any) -> None:
    inbound = receive(feishu, EVENTS.message("@_user_1 hi", group=True, mentions=mentions))
    assert (inbound.messages, inbound.ignored) == ((), "not addressed")


def test_group_messages_wait_until_we_know_who_we_are(tmp_path: Path) -> None:
    made = channel(tmp_path, bot=None)
    with pytest.raises(Refused) as caught:
        made.receive(request(EVENTS.message("@_user_1 hi", group=True, mentions=[AT_BOT])))
    assert caught.value.status == 503
    assert receive(made, EVENTS.message("hi", group=True)).ignored == "not addressed"
    assert only(made, EVENTS.message("hi")).content == "hi"


@pytest.mark.parametrize(
    ("kind", "why"), [("app", "own message"), ("bot", "not a person"), ("anonymous", "not a person")]
)
def test_machines_are_not_answered(feishu: FeishuChannel, kind: str, why: str) -> None:
    event = {"sender": person("ou_x", kind), "message": {"message_id": "om", "chat_id": "oc", "chat_type": "p2p"}}
    inbound = receive(feishu, EVENTS.event("im.message.receive_v1", event))
    assert (inbound.messages, inbound.ignored) == ((), why)


FILES = [
    ("image", {"image_key": "img_1"}, "image", "img_1", "", "[image]"),
    ("file", {"file_key": "f_1", "file_name": "plan.pdf"}, "file", "f_1", "plan.pdf", "[file: plan.pdf]"),
    ("audio", {"file_key": "f_2", "duration": 2000}, "audio", "f_2", "", "[audio]"),
    (
        "media",
        {"file_key": "f_3", "image_key": "i", "file_name": "a\nb.mp4"},
        "video",
        "f_3",
        "a b.mp4",
        "[media: a b.mp4]",
    ),
    ("sticker", {"file_key": "f_4"}, "image", "f_4", "", "[sticker]"),
    ("folder", {"file_key": "f_5", "file_name": "dir"}, "file", "f_5", "dir", "[folder: dir]"),
]


@pytest.mark.parametrize(("kind", "content", "as_kind", "key", "name", "text"), FILES)
def test_files_become_references(
    feishu: FeishuChannel, kind: str, content: dict[str, Any], as_kind: str, key: str, name: str, text: str
) -> None:
    message = only(feishu, EVENTS.message(kind=kind, content=json.dumps(content)))
    (attachment,) = message.attachments
    assert (attachment.kind, attachment.id, attachment.name) == (as_kind, key, name)
    assert message.content == text


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("image", {}, "[image]"),
        ("file", {"file_key": 7}, "[file]"),
        ("file", {"file_key": "k" * 513}, "[file]"),
        ("location", {"name": "Beijing", "longitude": "1"}, "[location: Beijing]"),
        ("interactive", {"title": "Report"}, "[card: Report]"),
        ("interactive", {}, "[card]"),
        ("share_chat", {"chat_id": "oc"}, "[share chat]"),
        ("hongbao", {"text": "[x]"}, "[hongbao]"),
        ("merge_forward", {"content": "Merged and Forwarded Message"}, "[merge forward]"),
        ("<at id=all>", {}, "[at id all]"),
    ],
)
def test_other_types_become_a_note(feishu: FeishuChannel, kind: str, content: dict[str, Any], text: str) -> None:
    message = only(feishu, EVENTS.message(kind=kind, content=json.dumps(content)))
    assert (message.content, message.attachments) == (text, ())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"text":"a\\u0000b"}', "ab"),
        ('{"text":"a\\ud83d"}', "a?"),
        ('{"text":"\\ud83d\\ude00"}', "\U0001f600"),
        ('{"text":"\u202eabc\u200b \u0627\u0644"}', "\u202eabc\u200b \u0627\u0644"),
        ('{"text":7}', ""),
        ("{}", ""),
        ('{"text":"a","text":"b"}', "b"),
    ],
)
def test_unusual_text(feishu: FeishuChannel, content: str, text: str) -> None:
    assert only(feishu, EVENTS.message(content=content)).content == text


@pytest.mark.parametrize(
    "content", ["", "hello", "[]", "7", '{"text":', "[" * 100_000, '{"a":' * 900 + "1" + "}" * 900]
)
def test_content_that_is_no_object_is_malformed(feishu: FeishuChannel, content: str) -> None:
    with pytest.raises(Malformed):
        receive(feishu, EVENTS.message(content=content))


def test_a_long_message_is_taken(feishu: FeishuChannel) -> None:
    assert len(only(feishu, EVENTS.message("x" * 150_000)).content) == 150_000
    assert len(only(feishu, EVENTS.message("x" * 300_000)).content) == 200_000


@pytest.mark.parametrize("field", ["message_id", "chat_id"])
@pytest.mark.parametrize("value", [None, "", 7, "x" * 513])
def test_ids_must_be_there(feishu: FeishuChannel, field: str, value: object) -> None:
    message = {"message_id": "om", "chat_id": "oc", "chat_type": "p2p", "content": "{}", field: value}
    with pytest.raises(Malformed):
        receive(feishu, EVENTS.event("im.message.receive_v1", {"sender": person("ou"), "message": message}))


@pytest.mark.parametrize("event", [{}, {"message": 1}, {"sender": [], "message": []}])
def test_events_without_their_parts_are_malformed(feishu: FeishuChannel, event: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        receive(feishu, EVENTS.event("im.message.receive_v1", event))


@pytest.mark.parametrize("sender", [{}, {"sender_id": None}, {"sender_id": {"open_id": ""}}, None])
def test_a_sender_must_be_known(feishu: FeishuChannel, sender: object) -> None:
    message = {"message_id": "om", "chat_id": "oc", "chat_type": "p2p", "content": "{}"}
    with pytest.raises(Malformed):
        receive(feishu, EVENTS.event("im.message.receive_v1", {"sender": sender, "message": message}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1700000000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1700000000000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
    ],
)
def test_times(feishu: FeishuChannel, value: object, expected: datetime) -> None:
    assert only(feishu, EVENTS.message(create_time=value)).timestamp == expected


@pytest.mark.parametrize("value", [None, "", "now", "-1", "1e3", True, 1.5, "9" * 20, "\u0661\u0662"])
def test_a_time_that_is_none_falls_back_to_the_events_own(feishu: FeishuChannel, value: object) -> None:
    message = only(feishu, EVENTS.message(create_time=value))
    assert abs((message.timestamp - message.received_at).total_seconds()) < 60


def test_a_recall(feishu: FeishuChannel) -> None:
    event = {"message_id": "om_gone", "chat_id": "oc_1", "recall_time": "1700000000000", "recall_type": "message_owner"}
    signed = EVENTS.event("im.message.recalled_v1", event)
    message = only(feishu, signed)
    assert (message.kind, message.target, message.event_id) == ("recall", "om_gone", signed.event_id)
    assert (message.chat, message.content, message.sender.kind) == ("oc_1", "", "system")
    assert message.id != only(feishu, EVENTS.message(message_id="om_gone")).id


def test_an_edit(feishu: FeishuChannel) -> None:
    content = {
        "message_id": "om_1",
        "chat_id": "oc_1",
        "chat_type": "p2p",
        "message_type": "text",
        "content": '{"text":"better"}',
        "create_time": "1700000000000",
        "update_time": "1700000060000",
    }
    signed = EVENTS.event("im.message.updated_v1", {"sender": person("ou_7"), "message": content})
    message = only(feishu, signed)
    assert (message.kind, message.target, message.content) == ("edit", "om_1", "better")
    assert message.event_id == signed.event_id
    assert message.timestamp == datetime(2023, 11, 14, 22, 14, 20, tzinfo=UTC)


def test_an_edit_that_says_little(feishu: FeishuChannel) -> None:
    event = {
        "operator_id": {"open_id": "ou_7"},
        "message": {"message_id": "om_1", "chat_id": "oc_1", "chat_type": "p2p"},
    }
    message = only(feishu, EVENTS.event("im.message.updated_v1", event))
    assert (message.kind, message.sender.id, message.content) == ("edit", "ou_7", "")


@pytest.mark.parametrize(
    "kind", ["im.message.message_read_v1", "im.chat.updated_v1", "card.action.trigger", "", None, 7]
)
def test_other_events_are_acknowledged(feishu: FeishuChannel, kind: Any) -> None:
    inbound = receive(feishu, EVENTS.event(kind, {"message": 1}))
    assert (inbound.messages, inbound.ignored, inbound.answer.status) == ((), "unsupported event", 200)


NAMES = st.sampled_from(
    [
        *("message", "sender", "sender_id", "open_id", "message_id", "chat_id", "chat_type", "content", "mentions"),
        *("id", "key", "name", "create_time", "thread_id", "message_type", "sender_type", "recall_time", "text"),
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["p2p", "group", "user", "post", "text", '{"text":"x"}', BOT, "@_user_1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)


@hypothesis_settings(max_examples=500, deadline=None)
@given(
    body=VALUES,
    kind=st.sampled_from(["im.message.receive_v1", "im.message.updated_v1", "im.message.recalled_v1"]),
    content=st.text(max_size=200) | VALUES.map(json.dumps),
    message_type=st.sampled_from(["text", "post", "image", "file", "location", "interactive", "x"]),
)
def test_nothing_but_refused_for_any_event(body: Any, kind: str, content: str, message_type: str) -> None:
    header = {"event_type": kind, "event_id": "e"}
    raw = RawReference(sha256="0" * 64, size=1)
    whole = {
        "message_id": "om",
        "chat_id": "oc",
        "chat_type": "p2p",
        "content": content,
        "message_type": message_type,
    }
    wide = {**body, "message": {**whole, **body}} if isinstance(body, dict) else body
    for event in (body, wide, {"message": whole, "sender": {"sender_id": {"open_id": "ou"}}}):
        with contextlib.suppress(Refused):
            inbound = parse(
                {"schema": "2.0", "header": header, "event": event},
                channel="feishu",
                bot=BOT,
                received_at=datetime.now(UTC),
                raw=raw,
            )
            for message in inbound.messages:
                assert Message.from_wire(message.to_wire()) == message
