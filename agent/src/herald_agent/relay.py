"""From the outbox to the OUT stream.

Publish, then mark. A crash before the publish leaves the row pending: a sweep, of any worker, finds it. A crash
between publish and mark leaves it pending too, and it is published a second time: the stream drops the second one
by its message id, and where the stream has forgotten (its window is ten minutes) the gateway's delivery record
recognises the reply. A reply is therefore never skipped, and never sent twice.
"""

import asyncio
import time
from collections.abc import Iterable

from herald_agent import instruments
from herald_agent.crashpoints import Reach, around, nothing
from herald_agent.store import outbox
from herald_agent.store.outbox import Due
from herald_agent.store.pool import Database
from herald_contracts.subjects import Names
from herald_runtime.acks import Publisher
from herald_runtime.waking import Bell

_SWEEP = 1.0  # seconds between looks at the whole outbox
_AGE = 1.5  # a reply that old was not relayed by the worker that wrote it
_MEANWHILE = 0.1  # seconds in which a statement that ran beside ours has ended
_DEADLINE = 5.0  # seconds for an acknowledgement
_BATCH = 128


class Relay:
    """`offer` and `look` from anywhere; `once` again and again from one loop."""

    def __init__(self, db: Database, publisher: Publisher, names: Names, reach: Reach = nothing) -> None:
        self._db = db
        self._publisher = publisher
        self._names = names
        self._reach = reach
        self._bell = Bell(_SWEEP)
        self._offered: dict[str, Due] = {}
        self._conversations: set[str] = set()
        self._swept = 0.0

    def offer(self, reply: Due) -> None:
        """This one was just written, and it is its conversation's turn to speak."""
        self._offered[reply.id] = reply
        self._bell.ring()

    def look(self, conversations: Iterable[str]) -> None:
        """In these, a reply may have become due: the one before it was delivered."""
        self._conversations.update(conversations)
        if self._conversations:
            self._bell.ring()

    def look_behind(self, conversation: str) -> None:
        """A reply was written behind another that is still on its way.

        The one before it may be recorded as delivered at this very moment, by a statement that does not see ours:
        so look again once such a statement must have ended, instead of leaving the reply to the sweep.
        """
        self.look((conversation,))
        asyncio.get_running_loop().call_later(_MEANWHILE, self.look, (conversation,))

    async def once(self) -> None:
        """Wait for work, then relay what is due. Raises temporary errors; what was in hand is found by the sweep."""
        if not (self._offered or self._conversations):
            await self._bell.wait()
        await self.flush()

    async def flush(self) -> None:
        """Relay what is due, without waiting for more."""
        offered, self._offered = self._offered, {}
        conversations, self._conversations = self._conversations, set()
        now = time.monotonic()
        if now - self._swept >= _SWEEP:
            offered |= {due.id: due for due in await outbox.due(self._db, age=_AGE)}
            self._swept = now
        if conversations:
            offered |= {due.id: due for due in await outbox.due(self._db, conversations=sorted(conversations))}
        waiting = list(offered.values())
        for begin in range(0, len(waiting), _BATCH):
            await self._relay(waiting[begin : begin + _BATCH])

    async def _relay(self, replies: list[Due]) -> None:
        results = await asyncio.gather(*(self._publish(due) for due in replies), return_exceptions=True)
        published = [due.id for due, result in zip(replies, results, strict=True) if result is None]
        if published:
            await around(self._reach, "relay.mark", outbox.relayed(self._db, published))
            instruments.relayed.add(len(published))
        for result in results:
            if result is not None:
                raise result

    async def _publish(self, due: Due) -> None:
        subject = self._names.outgoing(due.channel, due.conversation)
        await around(
            self._reach,
            "relay.publish",
            self._publisher.publish(subject, due.payload.encode(), due.id, deadline=_DEADLINE),
        )
