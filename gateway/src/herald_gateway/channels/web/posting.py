"""From what the page posts to a message. Pure.

The page chooses the message's id and repeats the post until it hears that the message is durable; the same
id is the same message, however often it comes.
"""

import hashlib
import json
from datetime import datetime

from herald_contracts import identity
from herald_contracts.messages import Message, RawReference, Sender
from herald_contracts.settings import Limits
from herald_gateway import strict_json
from herald_gateway.channels.base import Answer, Inbound, Malformed, TooLarge
from herald_gateway.channels.web.session import Session

MAX_CHARACTERS = 100_000
_FIELDS = frozenset({"id", "chat", "text"})


def parse(body: bytes, session: Session, channel: str, received_at: datetime, limits: Limits) -> Inbound:
    """`{"id": "...", "chat": "...", "text": "..."}` as a message of this session. Raises Malformed, TooLarge.

    `chat` names one of the session's conversations and is empty for the first.
    """
    posted = strict_json.loads(body, limits)
    if not isinstance(posted, dict):
        raise Malformed("not_an_object")
    for field in posted:
        if field not in _FIELDS:
            raise Malformed("unknown_field")
    event_id = session.event(posted.get("id", ""))
    chat = session.chat(posted.get("chat", ""))
    text = posted.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Malformed("empty_text", field="text")
    if len(text) > MAX_CHARACTERS:
        raise TooLarge("text_too_long", field="text")
    message = Message(
        id=identity.message_id(channel, event_id),
        event_id=event_id,
        channel=channel,
        conversation=identity.conversation_id(channel, chat, None),
        chat=chat,
        sender=Sender(id=session.id),
        content=text,
        timestamp=received_at,
        received_at=received_at,
        platform_message_id=event_id,
        raw=RawReference(sha256=hashlib.sha256(body).hexdigest(), size=len(body)),
    )
    answer = {"accepted": True, "id": posted["id"], "message": message.id}
    return Inbound((message,), Answer(202, json.dumps(answer).encode()))
