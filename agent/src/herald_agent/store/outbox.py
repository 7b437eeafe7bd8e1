"""Replies on their way out: which may go now, which went, what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from herald_agent.store.pool import Database
from herald_contracts.messages import Reply


@dataclass(frozen=True, slots=True)
class Due:
    """A reply that may be relayed. `payload` is the Reply as JSON."""

    id: str
    channel: str
    conversation: str
    payload: str


# A reply is due when no earlier one of its conversation is on its way: the platform sees them in order because the
# next leaves only after the last one's receipt.
_DUE = """
SELECT o.id, o.channel, o.conversation, o.payload::text AS payload
  FROM (SELECT DISTINCT ON (conversation) *
          FROM outbox
         WHERE state IN ('pending', 'relayed')
           AND (%(conversations)s::text[] IS NULL OR conversation = ANY (%(conversations)s::text[]))
         ORDER BY conversation, position, number) AS o
 WHERE o.state = 'pending' AND o.created_at <= now() - make_interval(secs => %(age)s)
 ORDER BY o.position LIMIT %(most)s
"""


async def due(
    db: Database, *, conversations: Sequence[str] | None = None, age: float = 0, most: int = 256
) -> list[Due]:
    """Up to `most` replies that may go now and were written at least `age` seconds ago, the oldest turn's first."""
    return await db.rows(Due, _DUE, {"conversations": conversations, "age": age, "most": most})


_MARK = """
WITH sorted AS (
    SELECT id FROM outbox WHERE id = ANY (%(ids)s::text[]) AND state = 'pending' ORDER BY id FOR NO KEY UPDATE
)
UPDATE outbox o SET state = 'relayed', relayed_at = now() FROM sorted WHERE o.id = sorted.id
RETURNING o.id
"""


async def relayed(db: Database, replies: Sequence[str]) -> int:
    """These are in the OUT stream. One whose receipt was faster keeps what the receipt said. Returns how many moved."""
    return len(await db.values(_MARK, {"ids": list(replies)}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one reply."""

    reply: str
    outcome: Literal["sent", "unknown", "failed"]
    platform_message_id: str
    reason: str
    attempts: int
    at: datetime


# `sent` and `failed` are final; `unknown` may still become known.
_RECORD = """
WITH said AS (
    SELECT * FROM unnest(%(replies)s::text[], %(outcomes)s::text[], %(platform_ids)s::text[], %(reasons)s::text[],
                         %(attempts)s::int[], %(ats)s::timestamptz[])
                  AS r (id, outcome, platform_message_id, reason, attempts, at)
), sorted AS (
    SELECT o.id FROM outbox o JOIN said USING (id)
     WHERE o.state IN ('pending', 'relayed') OR (o.state = 'unknown' AND said.outcome = 'sent')
     ORDER BY o.id FOR NO KEY UPDATE OF o
), moved AS (
    UPDATE outbox o
       SET state = said.outcome, delivered_at = CASE WHEN said.outcome = 'sent' THEN said.at END,
           platform_message_id = nullif(said.platform_message_id, ''), attempts = said.attempts,
           reason = nullif(said.reason, '')
      FROM sorted JOIN said USING (id) WHERE o.id = sorted.id
    RETURNING o.id, o.turn, o.conversation, o.state, o.reason
), buried AS (
    INSERT INTO dead_letters (source, turn, reply, reason)
    SELECT 'delivery', turn, id, coalesce(reason, 'no reason given') FROM moved WHERE state = 'failed'
    ON CONFLICT DO NOTHING
)
SELECT DISTINCT moved.conversation
  FROM moved JOIN outbox o USING (conversation)
 WHERE o.state = 'pending' AND o.id NOT IN (SELECT id FROM moved)
"""


async def record(db: Database, outcomes: Sequence[Outcome]) -> frozenset[str]:
    """Write down what became of these replies (each at most once in `outcomes`); a failed one is a dead letter.

    Safe to run twice. Returns the conversations where another reply waits that may go now.
    """
    values = {
        "replies": [o.reply for o in outcomes],
        "outcomes": [o.outcome for o in outcomes],
        "platform_ids": [o.platform_message_id for o in outcomes],
        "reasons": [o.reason for o in outcomes],
        "attempts": [o.attempts for o in outcomes],
        "ats": [o.at for o in outcomes],
    }
    return frozenset(await db.values(_RECORD, values))


_REPLY_OF = """
SELECT o.payload::text FROM turns t JOIN outbox o ON o.turn = t.id AND o.number = t.reply_number WHERE t.id = %(turn)s
"""


async def reply_of(db: Database, turn: str) -> Reply | None:
    """The newest reply of a turn, delivered or not; None while there is none."""
    payload = await db.value(_REPLY_OF, {"turn": turn})
    return Reply.from_wire(str(payload).encode()) if payload is not None else None
