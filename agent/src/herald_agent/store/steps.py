"""The journal: what a turn is about to do, written before it is done. The result is written where the turn ends.

The write proves that the worker still owns the conversation (epoch and holder) and renews its lease with the same
stroke. A worker that was silent for too long finds its lease gone and has changed nothing.
"""

import json
from dataclasses import dataclass
from typing import Literal

from herald_agent.deciding.journal import Found, Step
from herald_agent.deciding.turns import Lease
from herald_agent.errors import LeaseLost
from herald_agent.store.pool import Database


@dataclass(frozen=True, slots=True)
class _Begun:
    held: bool
    state: Literal["started", "done"] | None
    output: str | None
    epoch: int | None


_BEGIN = """
WITH held AS (
    UPDATE conversations SET lease_until = now() + make_interval(secs => %(lease)s)
     WHERE id = %(conversation)s AND epoch = %(epoch)s AND holder = %(holder)s
    RETURNING id
), known AS (
    SELECT state, output, epoch FROM steps WHERE turn = %(turn)s AND number = %(number)s AND input_hash = %(input_hash)s
), recorded AS (
    INSERT INTO steps AS s (turn, number, kind, input_hash, epoch, idempotent)
    SELECT %(turn)s, %(number)s, %(kind)s, %(input_hash)s, %(epoch)s, %(idempotent)s FROM held
    ON CONFLICT (turn, number, input_hash) DO UPDATE
       SET epoch = excluded.epoch, started_at = now() WHERE s.state = 'started' AND s.idempotent
)
SELECT EXISTS (SELECT FROM held) AS held, known.state, known.output::text AS output, known.epoch
  FROM (VALUES (true)) AS always LEFT JOIN known ON true
"""


async def begin(db: Database, lease: Lease, step: Step, *, seconds: float) -> Found:
    """Record that `step` begins, unless the journal knows it; returns what it knew.

    `seconds` is the lease's new length. A step that is done keeps its output for ever. Safe to run twice. Raises
    LeaseLost; then nothing has changed.
    """
    begun = await db.one(
        _Begun,
        _BEGIN,
        {
            "conversation": lease.conversation,
            "epoch": lease.epoch,
            "holder": lease.holder,
            "lease": seconds,
            "turn": step.turn,
            "number": step.number,
            "kind": step.kind,
            "input_hash": step.input_hash,
            "idempotent": step.idempotent,
        },
    )
    if not begun.held:
        raise LeaseLost(lease.conversation)
    output = json.loads(begun.output) if begun.output is not None else None
    return Found(begun.state, output, ours=begun.epoch == lease.epoch)
