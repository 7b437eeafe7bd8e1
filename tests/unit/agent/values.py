"""Messages, turns and replies for the tests of workers: whole values, of which a test names what matters to it."""

from datetime import UTC, datetime
from typing import Any

from herald_agent.deciding.turns import Lease, NewTurn, Turn
from herald_agent.gate import Gate
from herald_contracts.identity import conversation_id, message_id, turn_id, user_key
from herald_contracts.messages import Message, Sender
from herald_contracts.rollout import Rollout

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def message(
    event: str = "e1", *, chat: str = "chat", user: str = "ann", content: str = "hello", **more: Any
) -> Message:
    """A message of channel `hmac`."""
    return Message(
        id=message_id("hmac", event),
        event_id=event,
        channel="hmac",
        conversation=conversation_id("hmac", chat, more.get("thread")),
        chat=chat,
        sender=more.pop("sender", Sender(id=user, name=user.title())),
        content=content,
        timestamp=NOW,
        received_at=more.pop("received_at", NOW),
        platform_message_id=more.pop("platform_message_id", f"p-{event}"),
        **more,
    )


def new_turn(sequence: int, **fields: Any) -> NewTurn:
    """The `sequence`-th entry of the stream; its event is `e<sequence>` unless `fields` say otherwise."""
    written = message(fields.pop("event", f"e{sequence}"), **fields)
    return NewTurn(
        turn=turn_id(written.id),
        conversation=written.conversation,
        channel=written.channel,
        chat=written.chat,
        event_id=written.event_id,
        in_seq=sequence,
        user_key=user_key(written.channel, written.sender.id),
        payload=written.to_wire().decode(),
        received_at=written.received_at,
    )


def turn(written: Message, **fields: Any) -> Turn:
    """A turn that a worker runs."""
    return Turn(
        **{
            "id": turn_id(written.id),
            "lease": Lease(written.conversation, 1, "w1"),
            "position": 1,
            "user_key": user_key(written.channel, written.sender.id),
            "payload": written.to_wire().decode(),
            "attempts": 1,
            "adoptions": 0,
            "reply_number": 0,
            "age": 0.0,
            **fields,
        }
    )


def opened(revision: str = "r1") -> Gate:
    """The gate of a worker whose revision is the active one."""
    gate = Gate(revision)
    gate.follow(Rollout(active=revision, generation=1))
    return gate
