"""Reading the ledger: what became of every accepted message, counted in one snapshot.

What the stream holds beyond the intake's cursor was accepted too (the gateway answered 2xx) and counts as waiting.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from herald_agent.store.pool import Database
from herald_contracts.ledger import STATES, Counts, Row, State


@dataclass(frozen=True, slots=True)
class StreamState:
    """Of the IN stream, asked for *before* the tables are read: so nothing is counted twice, and nothing is missed
    but what was accepted in between. `last_seq` is 0 for an empty stream."""

    name: str
    first_seq: int
    last_seq: int

    def unread(self, cursor: int) -> int:
        """How many entries lie beyond `cursor`. A stream that was created anew is all unread."""
        if self.last_seq < cursor:
            cursor = 0
        return max(0, self.last_seq - max(cursor, self.first_seq - 1))


@dataclass(frozen=True, slots=True)
class _Totals:
    state: str
    messages: int
    accepted: int
    cursor: int


# `accepted` is counted from the tables and not from the view, so that a message the view forgets would show.
_COUNTS = """
WITH totals AS MATERIALIZED (
    SELECT (SELECT count(*) FROM turns)
           + (SELECT count(*) FROM dead_letters WHERE source = 'intake' AND replayed_at IS NULL) AS accepted,
           coalesce((SELECT cursor FROM intake WHERE stream = %(stream)s), 0) AS cursor
), by_state AS MATERIALIZED (
    SELECT state, count(*) AS messages FROM ledger GROUP BY state
)
SELECT coalesce(by_state.state, '') AS state, coalesce(by_state.messages, 0) AS messages, totals.accepted, totals.cursor
  FROM totals LEFT JOIN by_state ON true
"""


async def counts(db: Database, stream: StreamState | None = None) -> Counts:
    """How many messages are in each state. Without `stream` (NATS is down) what nobody has read yet is missing."""
    rows = await db.rows(_Totals, _COUNTS, {"stream": stream.name if stream else None})
    unread = stream.unread(rows[0].cursor) if stream else 0
    by_state = {row.state: row.messages for row in rows if row.state in STATES}
    by_state["waiting"] = by_state.get("waiting", 0) + unread
    return Counts(accepted=rows[0].accepted + unread, **by_state)


_SELECT: LiteralString = """
SELECT event_id, channel, conversation, turn, state, revision, attempts, received_at, started_at, finished_at,
       delivered_at, platform_message_id, reason
  FROM ledger
"""
_NEWEST: LiteralString = """
 WHERE (%(state)s::text IS NULL OR state = %(state)s) AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
 ORDER BY received_at DESC, in_seq DESC LIMIT %(limit)s
"""


async def messages(
    db: Database, *, state: State | None = None, since: datetime | None = None, limit: int = 100
) -> list[Row]:
    """The newest `limit` accepted messages, newest first, of one `state` and received `since` where given."""
    return await db.rows(Row, _SELECT + _NEWEST, {"state": state, "since": since, "limit": limit})


async def message(db: Database, *, channel: str, event: str) -> Row | None:
    """The accepted message of one event; None as long as no worker has read it."""
    found = await db.rows(
        Row, _SELECT + "WHERE channel = %(channel)s AND event_id = %(event)s", {"channel": channel, "event": event}
    )
    return found[0] if found else None


async def of_turn(db: Database, turn: str) -> Row | None:
    """The accepted message that opened a turn; None as long as no worker has read it."""
    found = await db.rows(Row, _SELECT + "WHERE turn = %(turn)s", {"turn": turn})
    return found[0] if found else None
