"""What failed for good: listed, looked at, and given another chance by a person (`herald dead-letters`).

Each letter is replayed at most once; what fails again is a new letter. A replay gets a reply of its own number, and
so an id that no stream, gateway or platform has seen: nothing on the way takes it for the reply that failed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from herald_agent.deciding.reading import read
from herald_agent.deciding.turns import NewTurn, Unreadable
from herald_agent.store.pool import Database
from herald_contracts.errors import PermanentError
from herald_contracts.identity import reply_id
from herald_contracts.messages import Reply

Source = Literal["intake", "turn", "delivery", "advisory"]


class NotReplayable(PermanentError):
    """There is no such letter, it was replayed before, or replaying it makes no sense; the text says which."""


@dataclass(frozen=True, slots=True)
class Letter:
    """`payload` is the message where there is one, else what was found in the stream. Times are UTC."""

    id: int
    source: Source
    reason: str
    turn: str | None
    reply: str | None
    event_id: str | None
    channel: str | None
    conversation: str | None
    stream: str | None
    stream_seq: int | None
    payload: bytes | None
    created_at: datetime
    replayed_at: datetime | None


_LETTERS = """
SELECT d.id, d.source, d.reason, d.turn, d.reply, t.event_id, t.channel, t.conversation, d.stream, d.stream_seq,
       coalesce(convert_to(t.payload::text, 'UTF8'), d.payload) AS payload, d.created_at, d.replayed_at
  FROM dead_letters d LEFT JOIN turns t ON t.id = d.turn
 WHERE (d.id = %(id)s OR %(id)s IS NULL) AND (d.replayed_at IS NULL OR %(replayed)s)
 ORDER BY d.id DESC LIMIT %(limit)s
"""


async def list_letters(db: Database, *, limit: int = 100, replayed: bool = False) -> list[Letter]:
    """The newest `limit` letters, newest first; `replayed` includes those that were given another chance."""
    return await db.rows(Letter, _LETTERS, {"id": None, "replayed": replayed, "limit": limit})


async def show(db: Database, letter: int) -> Letter | None:
    """One letter, replayed or not; None when there is none of this number."""
    found = await db.rows(Letter, _LETTERS, {"id": letter, "replayed": True, "limit": 1})
    return found[0] if found else None


# The conversation's head stays what it is while it has open turns: it may be running. Acquire looks at the turns.
_REPLAY_TURN = """
WITH letter AS (
    UPDATE dead_letters SET replayed_at = now() WHERE id = %(id)s AND replayed_at IS NULL RETURNING turn
), again AS (
    UPDATE turns t
       SET state = 'waiting', attempts = 0, adoptions = 0, reason = NULL, budget_since = NULL, finished_at = NULL,
           reply_number = t.reply_number + 1
      FROM letter WHERE t.id = letter.turn AND t.state = 'dead'
    RETURNING t.conversation, t.position, t.user_key
), opened AS (
    UPDATE conversations c
       SET open_turns = c.open_turns + 1,
           head_position = CASE WHEN c.open_turns = 0 THEN again.position ELSE c.head_position END,
           head_user = CASE WHEN c.open_turns = 0 THEN again.user_key ELSE c.head_user END
      FROM again WHERE c.id = again.conversation
)
SELECT count(*) FROM again
"""

_REPLAY_DELIVERY = """
WITH letter AS (
    UPDATE dead_letters d SET replayed_at = now()
      FROM outbox o JOIN turns t ON t.id = o.turn
     WHERE d.id = %(id)s AND d.replayed_at IS NULL AND o.id = d.reply AND o.state = 'failed'
       AND o.number = t.reply_number AND o.number = %(number)s - 1
    RETURNING d.reply
), counted AS (
    UPDATE turns t SET reply_number = %(number)s FROM letter JOIN outbox o ON o.id = letter.reply WHERE t.id = o.turn
), again AS (
    INSERT INTO outbox (id, turn, number, conversation, position, channel, payload)
    SELECT %(reply)s, o.turn, %(number)s, o.conversation, o.position, o.channel, %(payload)s::jsonb
      FROM letter JOIN outbox o ON o.id = letter.reply
    RETURNING id
)
SELECT count(*) FROM again
"""

_REPLAY_INTAKE = """
WITH letter AS (
    UPDATE dead_letters SET replayed_at = now() WHERE id = %(id)s AND replayed_at IS NULL RETURNING id
), opened AS (
    INSERT INTO turns (id, conversation, channel, event_id, in_seq, user_key, payload, received_at)
    SELECT %(turn)s, %(conversation)s, %(channel)s, %(event_id)s, %(in_seq)s, %(user_key)s, %(payload)s::jsonb,
           %(received_at)s
      FROM letter
    ON CONFLICT DO NOTHING
    RETURNING position
), counted AS (
    INSERT INTO conversations AS c (id, channel, chat, open_turns, head_position, head_user)
    SELECT %(conversation)s, %(channel)s, %(chat)s, 1, opened.position, %(user_key)s FROM opened
    ON CONFLICT (id) DO UPDATE
       SET open_turns = c.open_turns + 1,
           head_position = CASE WHEN c.open_turns = 0 THEN excluded.head_position ELSE c.head_position END,
           head_user = CASE WHEN c.open_turns = 0 THEN excluded.head_user ELSE c.head_user END
)
SELECT count(*) FROM letter
"""

_FAILED_REPLY = "SELECT payload::text FROM outbox WHERE id = %(reply)s AND state = 'failed'"
_NUMBER = "SELECT number FROM outbox WHERE id = %(reply)s"


async def replay(db: Database, letter: int) -> Letter:
    """Give what failed another chance, exactly once per letter; returns the letter as it was.

    A turn begins anew and its later answer is a new reply. A reply that could not be delivered is sent again with
    its old text. A stream entry that this version can read becomes a turn. Each is one statement: two people at
    once replay once. Raises NotReplayable.
    """
    found = await show(db, letter)
    if found is None:
        raise NotReplayable(f"there is no dead letter {letter}")
    if found.replayed_at is not None:
        raise NotReplayable(f"dead letter {letter} was replayed at {found.replayed_at:%Y-%m-%d %H:%M:%S} UTC")
    if found.source == "turn":
        moved = await db.value(_REPLAY_TURN, {"id": letter})
    elif found.source == "delivery":
        moved = await _send_again(db, found)
    elif found.source == "intake":
        moved = await _read_again(db, found)
    else:
        raise NotReplayable(f"dead letter {letter} is a notice of the message server: there is nothing to replay")
    if not moved:
        raise NotReplayable(f"dead letter {letter} was overtaken: it was replayed, or its turn answered, just now")
    return found


async def _send_again(db: Database, letter: Letter) -> int:
    payload = await db.value(_FAILED_REPLY, {"reply": letter.reply})
    number = await db.value(_NUMBER, {"reply": letter.reply})
    if payload is None or number is None:
        return 0
    failed = Reply.from_wire(str(payload).encode())
    again = failed.model_copy(update={"id": reply_id(failed.turn, number + 1)})
    values = {"id": letter.id, "number": number + 1, "reply": again.id, "payload": again.to_wire().decode()}
    return int(await db.value(_REPLAY_DELIVERY, values))


async def _read_again(db: Database, letter: Letter) -> int:
    entry = read(letter.payload or b"", letter.stream_seq or 0)
    if isinstance(entry, Unreadable):
        raise NotReplayable(f"dead letter {letter.id} is still no message this version can read: {entry.reason}")
    return int(await db.value(_REPLAY_INTAKE, {"id": letter.id, **_columns(entry)}))


def _columns(turn: NewTurn) -> dict[str, object]:
    return {
        "turn": turn.turn,
        "conversation": turn.conversation,
        "channel": turn.channel,
        "chat": turn.chat,
        "event_id": turn.event_id,
        "in_seq": turn.in_seq,
        "user_key": turn.user_key,
        "payload": turn.payload,
        "received_at": turn.received_at,
    }


_ADVISORY = """
INSERT INTO dead_letters (source, stream, stream_seq, reason, payload)
VALUES ('advisory', %(stream)s, %(stream_seq)s, %(reason)s, %(payload)s)
ON CONFLICT DO NOTHING
RETURNING id
"""


async def record_advisory(db: Database, *, stream: str, stream_seq: int, reason: str, payload: bytes) -> bool:
    """Keep a notice of the message server about an entry it gave up on; False when it is known already."""
    values = {"stream": stream, "stream_seq": stream_seq, "reason": reason, "payload": payload}
    return await db.value(_ADVISORY, values) is not None
