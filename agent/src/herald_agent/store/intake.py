"""Moving messages from the IN stream into turns: the lease on the stream, and the statement that claims a batch."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from herald_agent.deciding.turns import NewTurn, Unreadable
from herald_agent.errors import LeaseLost
from herald_agent.store.pool import Database


@dataclass(frozen=True, slots=True)
class IntakeLease:
    """The right to read `stream` from `cursor` (the sequence of the last message read) on."""

    stream: str
    holder: str
    epoch: int
    cursor: int
    incarnation: str


@dataclass(frozen=True, slots=True)
class Claimed:
    held: int
    opened: int
    refused: int


_TAKE = """
INSERT INTO intake AS i (stream, holder, epoch, lease_until)
VALUES (%(stream)s, %(holder)s, 1, now() + make_interval(secs => %(ttl)s))
ON CONFLICT (stream) DO UPDATE
   SET holder = excluded.holder, lease_until = excluded.lease_until,
       epoch = i.epoch + (i.holder IS DISTINCT FROM excluded.holder)::int
 WHERE i.holder = excluded.holder OR i.holder IS NULL OR i.lease_until <= now()
RETURNING stream, holder, epoch, cursor, incarnation
"""


async def take(db: Database, *, stream: str, holder: str, ttl: float) -> IntakeLease | None:
    """Take the lease, or renew our own, for `ttl` seconds; None while another worker holds it.

    Guarantees one holder at a time by the database's clock; a new holder has a greater epoch than any before.
    """
    found = await db.rows(IntakeLease, _TAKE, {"stream": stream, "holder": holder, "ttl": ttl})
    return found[0] if found else None


_RELEASE = """
UPDATE intake SET holder = NULL, lease_until = '-infinity' WHERE stream = %(stream)s AND holder = %(holder)s
RETURNING epoch
"""


async def release(db: Database, *, stream: str, holder: str) -> None:
    """Give the lease back, if it is ours, so that another worker can take it at once."""
    await db.value(_RELEASE, {"stream": stream, "holder": holder})


_REWIND = """
UPDATE intake SET cursor = 0, incarnation = %(incarnation)s
 WHERE stream = %(stream)s AND holder = %(holder)s AND epoch = %(epoch)s
RETURNING epoch
"""


async def rewind(db: Database, lease: IntakeLease, *, incarnation: str) -> None:
    """Begin a stream that was created anew at its start. What is in it and was claimed before is a no-op then.

    Raises LeaseLost.
    """
    values = {"stream": lease.stream, "holder": lease.holder, "epoch": lease.epoch, "incarnation": incarnation}
    if await db.value(_REWIND, values) is None:
        raise LeaseLost("intake")


# The cursor's compare-and-set is the fence: a worker that lost the lease, or that read from another place than where
# the cursor is, inserts nothing. The sort keeps stream order in `position` and one lock order over conversations.
_CLAIM = """
WITH held AS (
    UPDATE intake SET cursor = %(upto)s, lease_until = now() + make_interval(secs => %(ttl)s)
     WHERE stream = %(stream)s AND holder = %(holder)s AND epoch = %(epoch)s AND cursor = %(cursor)s
    RETURNING stream
), batch AS (
    SELECT b.*
      FROM held, json_to_recordset(%(turns)s::json)
           AS b (turn text, conversation text, channel text, chat text, event_id text, in_seq bigint, user_key text,
                 payload text, received_at timestamptz)
), opened AS (
    INSERT INTO turns (id, conversation, channel, event_id, in_seq, user_key, payload, received_at)
    SELECT turn, conversation, channel, event_id, in_seq, user_key, payload::jsonb, received_at
      FROM batch ORDER BY in_seq
    ON CONFLICT DO NOTHING
    RETURNING id, conversation, position, user_key
), counted AS (
    INSERT INTO conversations AS c (id, channel, chat, open_turns, head_position, head_user)
    SELECT o.conversation, b.channel, b.chat, count(*), min(o.position),
           (array_agg(o.user_key ORDER BY o.position))[1]
      FROM opened o
      JOIN (SELECT conversation, min(channel) AS channel, min(chat) AS chat FROM batch GROUP BY conversation) AS b
        ON b.conversation = o.conversation
     GROUP BY o.conversation, b.channel, b.chat ORDER BY o.conversation
    ON CONFLICT (id) DO UPDATE
       SET open_turns = c.open_turns + excluded.open_turns,
           head_position = CASE WHEN c.open_turns = 0 THEN excluded.head_position ELSE c.head_position END,
           head_user = CASE WHEN c.open_turns = 0 THEN excluded.head_user ELSE c.head_user END
), refused AS (
    INSERT INTO dead_letters (source, stream, stream_seq, reason, payload)
    SELECT 'intake', held.stream, r.in_seq, r.reason, r.payload
      FROM held, unnest(%(bad_seqs)s::bigint[], %(bad_reasons)s::text[], %(bad_payloads)s::bytea[])
           AS r (in_seq, reason, payload)
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT (SELECT count(*) FROM held) AS held, (SELECT count(*) FROM opened) AS opened,
       (SELECT count(*) FROM refused) AS refused
"""


async def claim(
    db: Database,
    lease: IntakeLease,
    *,
    upto: int,
    ttl: float,
    turns: Sequence[NewTurn],
    unreadable: Sequence[Unreadable] = (),
) -> Claimed:
    """Move the cursor from `lease.cursor` to `upto` and open the turns in between, all or nothing.

    Guarantees: a message is claimed exactly once, whatever was read twice (a known event opens no turn); what cannot
    be read is a dead letter in the same statement. Renews the lease. Raises LeaseLost when the lease or the cursor
    has moved; then nothing has changed.
    """
    claimed = await db.one(
        Claimed,
        _CLAIM,
        {
            "stream": lease.stream,
            "holder": lease.holder,
            "epoch": lease.epoch,
            "cursor": lease.cursor,
            "upto": upto,
            "ttl": ttl,
            "turns": _as_json(turns),
            "bad_seqs": [u.in_seq for u in unreadable],
            "bad_reasons": [u.reason for u in unreadable],
            "bad_payloads": [u.payload for u in unreadable],
        },
    )
    if not claimed.held:
        raise LeaseLost("intake")
    return claimed


def _as_json(turns: Sequence[NewTurn]) -> str:
    """psycopg writes arrays element by element in Python; json does it in C, and this is every message's way in."""
    return json.dumps([asdict(turn) for turn in turns], default=datetime.isoformat)


_WAITING = "SELECT count(*) FROM (SELECT FROM turns WHERE state = 'waiting' LIMIT %(most)s) AS counted"


async def waiting(db: Database, *, most: int) -> int:
    """How many turns wait, counted no further than `most`: what back-pressure goes by."""
    return int(await db.value(_WAITING, {"most": most}))
