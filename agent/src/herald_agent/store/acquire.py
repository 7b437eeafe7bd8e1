"""Which turns a worker begins next: the one statement that decides, leases and loads.

It serves new turns, the next turn of a conversation, retries that are due and turns whose worker fell silent, all
alike: a free conversation with an open turn is work, whatever its past.

Fair: whoever runs nothing goes before whoever runs something, then the older message first; nobody has more than
`per_user` turns running over all workers. Cheap: `conversations` knows who waits at the head of each, and users who
already run something are skipped without a look at their turns.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from herald_agent.deciding.turns import Lease, Said, Turn
from herald_agent.store.pool import Database


@dataclass(frozen=True, slots=True)
class Acquired:
    """`more`: there is other work that must wait, for room, for its user's other turns, or for its time."""

    turns: tuple[Turn, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class _Row:
    more: bool
    id: str | None
    conversation: str
    epoch: int
    position: int
    user_key: str
    payload: str
    attempts: int
    adoptions: int
    reply_number: int
    age: float
    quiet: bool
    history: str | None


# clock: a database that just came back must not hand every turn to somebody else: for one lease time all leases hold.
# chosen: rows that another worker is choosing at this moment are skipped, and one that changed since our snapshot is
#   looked at again as it is now. Both choose a user's oldest heads, so both together choose no more of them than one.
# begun: a conversation that was served and freed since our snapshot is free again, but its head is another one.
_ACQUIRE = """
WITH clock AS MATERIALIZED (
    SELECT CASE WHEN now() < pg_postmaster_start_time() + make_interval(secs => %(lease)s)
                THEN '-infinity'::timestamptz ELSE now() END AS expired
), live AS MATERIALIZED (
    SELECT c.head_user AS user_key, count(*)::int AS running
      FROM conversations c, clock
     WHERE c.holder IS NOT NULL AND c.lease_until > clock.expired
     GROUP BY c.head_user
), idle AS (
    SELECT c.id
      FROM conversations c, clock
     WHERE c.open_turns > 0 AND c.not_before <= now() AND (c.holder IS NULL OR c.lease_until <= clock.expired)
       AND c.head_user NOT IN (SELECT live.user_key FROM live) AND c.id <> ALL (%(own)s::text[])
     ORDER BY c.head_position
     LIMIT %(room)s::int * 4
), busy AS (
    SELECT of_user.id
      FROM live, clock, LATERAL (
               SELECT c.id
                 FROM conversations c
                WHERE c.open_turns > 0 AND c.not_before <= now()
                  AND (c.holder IS NULL OR c.lease_until <= clock.expired)
                  AND c.head_user = live.user_key AND c.id <> ALL (%(own)s::text[])
                ORDER BY c.head_position
                LIMIT %(per_user)s::int - live.running
           ) AS of_user
     WHERE live.running < %(per_user)s::int
), heads AS (
    SELECT t.id AS turn, t.conversation, t.position,
           coalesce(live.running, 0) + row_number() OVER (PARTITION BY t.user_key ORDER BY t.position) AS nth
      FROM (SELECT id FROM idle UNION SELECT id FROM busy) AS free
     CROSS JOIN LATERAL (
               SELECT t.id, t.conversation, t.position, t.user_key
                 FROM turns t
                WHERE t.conversation = free.id AND t.state IN ('waiting', 'running')
                ORDER BY t.position LIMIT 1
           ) AS t
      LEFT JOIN live ON live.user_key = t.user_key
), chosen AS MATERIALIZED (
    SELECT c.id AS conversation, c.epoch, heads.turn, heads.nth, heads.position
      FROM clock, heads JOIN conversations c ON c.id = heads.conversation
     WHERE heads.nth <= %(per_user)s::int
       AND c.open_turns > 0 AND c.not_before <= now() AND (c.holder IS NULL OR c.lease_until <= clock.expired)
     ORDER BY heads.nth, heads.position
     LIMIT %(room)s::int
       FOR NO KEY UPDATE OF c SKIP LOCKED
), begun AS (
    UPDATE turns t
       SET state = 'running', attempts = t.attempts + 1, adoptions = t.adoptions + (t.state = 'running')::int,
           revision = %(revision)s, started_at = coalesce(t.started_at, now()),
           budget_since = CASE WHEN t.state = 'running' THEN now() ELSE coalesce(t.budget_since, now()) END,
           epoch = chosen.epoch + 1
      FROM chosen
     WHERE t.id = chosen.turn AND t.state IN ('waiting', 'running')
    RETURNING t.id, t.conversation, t.position, t.user_key, t.payload, t.attempts, t.adoptions, t.reply_number,
              t.epoch, t.budget_since
), leased AS (
    UPDATE conversations c
       SET epoch = begun.epoch, holder = %(holder)s, lease_until = now() + make_interval(secs => %(lease)s),
           head_position = begun.position, head_user = begun.user_key
      FROM begun
     WHERE c.id = begun.conversation
)
SELECT EXISTS (SELECT FROM conversations c
                WHERE c.open_turns > 0 AND c.holder IS NULL AND c.id NOT IN (SELECT conversation FROM begun)) AS more,
       begun.id, begun.conversation, begun.epoch, begun.position, begun.user_key,
       begun.payload::text AS payload, begun.attempts, begun.adoptions, begun.reply_number,
       extract(epoch FROM now() - begun.budget_since)::float8 AS age,
       EXISTS (SELECT FROM outbox o WHERE o.conversation = begun.conversation AND o.state IN ('pending', 'relayed')
                  AND o.position < begun.position) AS quiet,
       (SELECT json_agg(json_build_array(h.role, h.sender_name, h.content) ORDER BY h.position, h.role DESC)
          FROM (SELECT h.role, h.sender_name, left(h.content, %(characters)s::int) AS content, h.position
                  FROM history h
                 WHERE h.conversation = begun.conversation
                 ORDER BY h.position DESC, h.role LIMIT %(history)s::int) AS h)::text AS history
  FROM (VALUES (true)) AS always LEFT JOIN begun ON true
 ORDER BY begun.position
"""
# psycopg keeps the parsed form of statements of up to 4,096 characters.
_STATEMENT = " ".join(_ACQUIRE.split())


async def acquire(
    db: Database,
    *,
    holder: str,
    revision: str,
    room: int,
    per_user: int,
    lease: float,
    history: int,
    characters: int,
    own: Sequence[str] = (),
) -> Acquired:
    """Lease up to `room` free conversations to `holder` for `lease` seconds and begin the first open turn of each.

    `own` are conversations that this worker runs already (their lease may have run out unnoticed). Each turn comes
    with its last `history` messages, each cut at `characters`. Guarantees: one holder per conversation; turns of a
    conversation one after the other, in order of acceptance; at most `per_user` running turns of a user, counted
    over the leases that live. (Two workers that decide at the very same moment may together exceed that by one, if
    at that moment an older message of the user becomes free, as a retry does.)
    """
    rows = await db.rows(
        _Row,
        _STATEMENT,
        {
            "holder": holder,
            "revision": revision,
            "room": room,
            "per_user": per_user,
            "lease": lease,
            "history": history,
            "characters": characters,
            "own": list(own),
        },
    )
    turns = tuple(
        Turn(
            id=row.id,
            lease=Lease(row.conversation, row.epoch, holder),
            position=row.position,
            user_key=row.user_key,
            payload=row.payload,
            attempts=row.attempts,
            adoptions=row.adoptions,
            reply_number=row.reply_number,
            age=row.age,
            quiet=row.quiet,
            history=tuple(Said(*said) for said in json.loads(row.history or "[]")),
        )
        for row in rows
        if row.id is not None
    )
    return Acquired(turns, more=rows[0].more)
