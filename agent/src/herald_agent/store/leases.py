"""Keeping what a worker holds, and giving it away."""

from collections.abc import Sequence

from herald_agent.deciding.turns import Lease
from herald_agent.store.pool import Database

# Rows are locked in the order of their ids, as every statement does that locks several: so none waits in a circle.
_RENEW = """
WITH mine AS (
    SELECT c.id FROM conversations c
      JOIN unnest(%(conversations)s::text[], %(epochs)s::bigint[]) AS m (id, epoch) USING (id, epoch)
     WHERE c.holder = %(holder)s
     ORDER BY c.id FOR NO KEY UPDATE OF c
)
UPDATE conversations c SET lease_until = now() + make_interval(secs => %(seconds)s)
  FROM mine WHERE c.id = mine.id
RETURNING c.id AS value
"""


async def renew(db: Database, leases: Sequence[Lease], *, seconds: float) -> frozenset[str]:
    """Prolong all leases at once; returns the conversations still held. The rest belong to somebody else now.

    A lease that ran out and that nobody took is still ours: only another's epoch takes it away.
    """
    if not leases:
        return frozenset()
    values = {
        "conversations": [lease.conversation for lease in leases],
        "epochs": [lease.epoch for lease in leases],
        "holder": leases[0].holder,
        "seconds": seconds,
    }
    return frozenset(await db.values(_RENEW, values))


_RELEASE = """
WITH mine AS (
    SELECT id FROM conversations WHERE holder = %(holder)s ORDER BY id FOR NO KEY UPDATE
), freed AS (
    UPDATE conversations c SET holder = NULL, lease_until = NULL FROM mine WHERE c.id = mine.id
    RETURNING c.id
), back AS (
    UPDATE turns t SET state = 'waiting', budget_since = NULL
      FROM freed WHERE t.conversation = freed.id AND t.state = 'running'
    RETURNING t.id
)
SELECT count(*) FROM freed
"""


async def release(db: Database, *, holder: str) -> int:
    """Hand over everything that `holder` holds: others may begin those turns at once. Returns how many.

    A turn that is handed over gets a fresh time budget, and it is not counted as an adoption: nothing went wrong.
    """
    return int(await db.value(_RELEASE, {"holder": holder}))
