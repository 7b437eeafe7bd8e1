"""Herald's own JSON event, as the `hmac` and `standardWebhooks` channels take and send it.

A public contract (docs/channels/hmac.md): fields may be added, none may change its meaning. Checked by hand
and not by a model, because an integrator needs to hear which field was wrong, by the name they wrote.
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any, Literal, cast

from pydantic import ValidationError

from herald_contracts import identity
from herald_contracts.messages import Message, RawReference, Reply, Sender
from herald_gateway.channels.base import Malformed, RawRequest

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_MOST_ID = 512
_MOST_NAME = 256
_MOST_TEXT = 200_000

Kind = Literal["message", "edit", "recall"]


def parse(event: Any, *, channel: str, request: RawRequest, event_id: str | None = None) -> Message:
    """The message of one event, `event` being the decoded JSON body.

    With `event_id` given (a transport with an id of its own) the body's `id` may be missing, and names the
    platform's message only. Raises Malformed with the offending field.
    """
    if not isinstance(event, dict):
        raise Malformed("not_an_object")
    body_id = _identifier(event, "id", optional=event_id is not None)
    event_id = event_id or cast("str", body_id)
    kind = _kind(event)
    chat = cast("str", _identifier(event, "conversation"))
    thread = _identifier(event, "thread", optional=True)
    target = _identifier(event, "target", optional=True)
    if kind != "message" and target is None:
        raise Malformed("field_missing", field="target")
    try:
        return Message(
            id=identity.message_id(channel, event_id),
            event_id=event_id,
            channel=channel,
            kind=kind,
            conversation=identity.conversation_id(channel, chat, thread),
            chat=chat,
            thread=thread,
            sender=_sender(event),
            content=_text(event, kind),
            timestamp=_timestamp(event) or request.received_at,
            received_at=request.received_at,
            platform_message_id=body_id or event_id,
            target=target,
            reply_to=_identifier(event, "replyTo", optional=True),
            raw=RawReference(sha256=hashlib.sha256(request.body).hexdigest(), size=len(request.body)),
        )
    except ValidationError as e:
        where = e.errors(include_input=False, include_url=False)[0]["loc"]
        raise Malformed("field_value", field=str(where[0]) if where else "") from None


def reply_body(reply: Reply) -> bytes:
    """A reply as it is posted to the callback."""
    return json.dumps(
        {
            "id": reply.id,
            "event": reply.event_id,
            "conversation": reply.chat,
            "thread": reply.thread,
            "replyTo": reply.reply_to,
            "kind": reply.kind,
            "text": reply.content,
            "createdAt": reply.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        },
        ensure_ascii=False,
    ).encode()


def accepted_body(message: Message) -> bytes:
    """The answer to an accepted event."""
    return json.dumps({"accepted": True, "id": message.event_id, "message": message.id}).encode()


def _identifier(event: dict[str, Any], field: str, *, optional: bool = False) -> str | None:
    return _string(event, field, field, _MOST_ID, optional=optional)


def _string(event: dict[str, Any], key: str, field: str, most: int, *, optional: bool) -> str | None:
    value = event.get(key)
    if value is None:
        if optional:
            return None
        raise Malformed("field_missing", field=field)
    if not isinstance(value, str):
        raise Malformed("field_type", field=field)
    if not 1 <= len(value) <= most:
        raise Malformed("field_length", field=field)
    if _CONTROL.search(value):
        raise Malformed("field_value", field=field)
    return value


def _kind(event: dict[str, Any]) -> Kind:
    kind = event.get("type")
    if kind is None:
        return "message"
    if kind not in ("message", "edit", "recall"):
        raise Malformed("field_value", field="type")
    return cast("Kind", kind)


def _sender(event: dict[str, Any]) -> Sender:
    sender = event.get("sender")
    if sender is None:
        raise Malformed("field_missing", field="sender")
    if not isinstance(sender, dict):
        raise Malformed("field_type", field="sender")
    name = sender.get("name")
    if name is None:
        name = ""
    elif not isinstance(name, str):
        raise Malformed("field_type", field="sender.name")
    identifier = cast("str", _string(sender, "id", "sender.id", _MOST_ID, optional=False))
    # A name is only shown: a long one is cut, not refused.
    return Sender(id=identifier, name=_CONTROL.sub(" ", name)[:_MOST_NAME])


def _text(event: dict[str, Any], kind: Kind) -> str:
    text = event.get("text")
    if text is None and kind == "recall":
        return ""
    if text is None:
        raise Malformed("field_missing", field="text")
    if not isinstance(text, str):
        raise Malformed("field_type", field="text")
    if len(text) > _MOST_TEXT or (kind != "recall" and not text.strip()):
        raise Malformed("field_length", field="text")
    return text


def _timestamp(event: dict[str, Any]) -> datetime | None:
    value = event.get("timestamp")
    if value is None:
        return None
    if not isinstance(value, str):
        raise Malformed("field_type", field="timestamp")
    if not _RFC3339.fullmatch(value):
        raise Malformed("field_value", field="timestamp")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed("field_value", field="timestamp") from None
