"""From an authentic Feishu event to Herald's Message. Pure.

Events: im.message.receive_v1 (a message), im.message.recalled_v1, im.message.updated_v1 (an edit).
https://open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/reference/im-v1/message/events/receive
https://open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/reference/im-v1/message/events/recalled
All other events, and all of schema 1, are acknowledged and counted: a subscription too many is no error.

A message is identified by its message_id, not by the event_id: Feishu may push one message as two events, and
its page on receive_v1 asks for exactly this.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from herald_contracts import identity
from herald_contracts.messages import Message, RawReference, Sender
from herald_gateway.channels.base import Inbound, Malformed, Refused
from herald_gateway.channels.feishu import content, mentions

RECEIVED = "im.message.receive_v1"
UPDATED = "im.message.updated_v1"
RECALLED = "im.message.recalled_v1"

Json = dict[str, Any]


def parse(event: Json, *, channel: str, bot: str | None, received_at: datetime, raw: RawReference) -> Inbound:
    """What an event comes to. `bot` is our open_id, None while it is not known yet.

    Raises Malformed, and Refused with status 503 for a group message while `bot` is None: Feishu sends it again.
    """
    header = event.get("header")
    if event.get("schema") != "2.0" or not isinstance(header, dict):
        return Inbound(ignored="unsupported event")
    kind = header.get("event_type")
    body = event.get("event")
    if kind not in (RECEIVED, UPDATED, RECALLED):
        return Inbound(ignored="unsupported event")
    if not isinstance(body, dict):
        raise Malformed("event")
    try:
        if kind == RECALLED:
            return Inbound((_recall(header, body, channel, received_at, raw),))
        return _message(header, body, channel, bot, received_at, raw, edit=kind == UPDATED)
    except ValidationError:
        raise Malformed("event_field") from None


def _message(
    header: Json, body: Json, channel: str, bot: str | None, received_at: datetime, raw: RawReference, *, edit: bool
) -> Inbound:
    message = _object(body, "message")
    sender = body.get("sender")
    if not isinstance(sender, dict):
        sender = {}
    if sender.get("sender_type", "user") != "user":
        # Our own cards come back as events of sender type "app"; answering a bot would make two bots talk for ever.
        return Inbound(ignored="own message" if sender.get("sender_type") == "app" else "not a person")
    chat, platform_id = _id(message, "chat_id"), _id(message, "message_id")
    listed = message.get("mentions")
    if message.get("chat_type") != "p2p" and listed and bot is None:
        raise Refused("bot_unknown", status=503)
    named = mentions.read(listed, bot or "")
    if message.get("chat_type") != "p2p" and not named.agent:
        return Inbound(ignored="not addressed")
    text = message.get("content")
    if not isinstance(text, str):
        if not edit:
            raise Malformed("message_content")
        # An edit that does not say what it changed to is still an edit.
        text = "{}"
    read = content.read(_string(message, "message_type") or _string(message, "msg_type") or "text", text)
    thread = _string(message, "thread_id") or None
    event_id = _id(header, "event_id") if edit else platform_id
    person = _person(sender) or (_person({"sender_id": body.get("operator_id")}) if edit else "")
    if not person:
        raise Malformed("sender")
    return Inbound(
        (
            Message(
                id=identity.message_id(channel, event_id),
                event_id=event_id,
                channel=channel,
                kind="edit" if edit else "message",
                conversation=identity.conversation_id(channel, chat, thread),
                chat=chat,
                thread=thread,
                sender=Sender(id=person),
                content=named.resolve(read.markdown),
                timestamp=_time(message.get("update_time") if edit else None)
                or _time(message.get("create_time"))
                or _time(header.get("create_time"))
                or received_at,
                received_at=received_at,
                platform_message_id=platform_id,
                target=platform_id if edit else None,
                reply_to=_string(message, "parent_id") or None,
                mentions=named.all,
                attachments=read.attachments,
                raw=raw,
            ),
        )
    )


def _recall(header: Json, body: Json, channel: str, received_at: datetime, raw: RawReference) -> Message:
    """A recall names message and chat, but neither who recalled nor in which thread: `target` is what counts."""
    chat, target, event_id = _id(body, "chat_id"), _id(body, "message_id"), _id(header, "event_id")
    return Message(
        id=identity.message_id(channel, event_id),
        event_id=event_id,
        channel=channel,
        kind="recall",
        conversation=identity.conversation_id(channel, chat, None),
        chat=chat,
        sender=Sender(id=_string(body, "recall_type") or "feishu", kind="system"),
        content="",
        timestamp=_time(body.get("recall_time")) or _time(header.get("create_time")) or received_at,
        received_at=received_at,
        platform_message_id=target,
        target=target,
        raw=raw,
    )


def _person(sender: Json) -> str:
    ids = sender.get("sender_id")
    if isinstance(ids, dict):
        for kind in ("open_id", "union_id", "user_id"):
            found = ids.get(kind)
            if isinstance(found, str) and found:
                return found
    return ""


def _object(value: Json, key: str) -> Json:
    found = value.get(key)
    if not isinstance(found, dict):
        raise Malformed(key)
    return found


def _id(value: Json, key: str) -> str:
    found = value.get(key)
    if not isinstance(found, str) or not found:
        raise Malformed(key)
    return found


def _string(value: Json, key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def _time(value: object) -> datetime | None:
    """A Feishu time: decimal text. Milliseconds; seconds where it has at most 10 digits. None when it is not one."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 13):
        return None
    number = int(text)
    return datetime.fromtimestamp(number if len(text) <= 10 else number / 1000, UTC)
