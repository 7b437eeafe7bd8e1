"""From a stream entry to a turn, or to the reason why it is none."""

from collections.abc import Iterator

from herald_agent.deciding.turns import NewTurn, Unreadable
from herald_contracts.errors import MalformedMessage
from herald_contracts.identity import turn_id, user_key
from herald_contracts.messages import Message


def read(data: bytes, in_seq: int) -> NewTurn | Unreadable:
    """What entry `in_seq` of the IN stream says. Never raises: what cannot be read must be seen, not crash a loop."""
    try:
        message = Message.from_wire(data)
    except MalformedMessage as e:
        return Unreadable(in_seq, str(e), data)
    payload = message.to_wire()
    # PostgreSQL stores no NUL, in no text and in no jsonb. The gateway removes it from what people write; one that
    # is still here sits in an id, where removing it could make two messages one.
    if b"\\u0000" in payload and any("\0" in text for text in _texts(message.model_dump())):
        return Unreadable(in_seq, "Message: contains a NUL character", data)
    return NewTurn(
        turn=turn_id(message.id),
        conversation=message.conversation,
        channel=message.channel,
        chat=message.chat,
        event_id=message.event_id,
        in_seq=in_seq,
        user_key=user_key(message.channel, message.sender.id),
        payload=payload.decode(),
        received_at=message.received_at,
    )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
