"""The turns of one worker: acquiring as many as there is room for, keeping their leases, handing them over.

A turn is a task. Ending the task is always safe: what it has not written, another worker does again.
"""

import asyncio
import time

from nats.aio.client import Client

from herald_agent import instruments
from herald_agent.crashpoints import Reach, around, nothing
from herald_agent.deciding.turns import Turn
from herald_agent.gate import Gate
from herald_agent.store import acquire, leases
from herald_agent.store.pool import Database
from herald_agent.turn import Runner
from herald_contracts.errors import HeraldError
from herald_contracts.settings import AgentSettings
from herald_runtime import logs
from herald_runtime.waking import Bell

_CHARACTERS_PER_TOKEN = 4  # of history that is loaded; the prompt cuts it exactly
log = logs.get("worker")


class Worker:
    """`once` and `renew` again and again, each from a loop of its own; then `drain`."""

    def __init__(
        self,
        settings: AgentSettings,
        db: Database,
        runner: Runner,
        bell: Bell,
        gate: Gate,
        *,
        holder: str,
        reach: Reach = nothing,
    ) -> None:
        self._settings = settings
        self._db = db
        self._runner = runner
        self._bell = bell
        self._gate = gate
        self._holder = holder
        self._reach = reach
        self._running: dict[str, tuple[Turn, asyncio.Task[None]]] = {}
        self._more = True
        self._acquiring = False

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def taking(self) -> bool:
        """Whether new turns may still begin here. Once it is false, `running` only falls."""
        return self._gate.open or self._acquiring

    async def once(self) -> None:
        """Acquire what there is room for, or wait until looking is worth it. Raises temporary errors."""
        if not self._gate.open:
            await self._gate.opened()
            return
        settings = self._settings
        room = settings.concurrency - len(self._running)
        if room <= 0:
            # Whoever rings meanwhile brings work that this worker has not looked at.
            self._more = await self._bell.wait() or self._more
            return
        # Never cut off when the gate closes: what it leased would then be found only after the lease has run out.
        self._acquiring = True
        try:
            acquired = await around(
                self._reach,
                "acquire",
                acquire.acquire(
                    self._db,
                    holder=self._holder,
                    revision=settings.revision,
                    room=room,
                    per_user=settings.per_user,
                    lease=settings.lease_seconds,
                    history=settings.history_messages,
                    characters=settings.generation.max_input_tokens * _CHARACTERS_PER_TOKEN,
                    own=tuple(self._running),
                ),
            )
            self._more = acquired.more
            for turn in acquired.turns:
                self._begin(turn)
        finally:
            self._acquiring = False
        if not acquired.turns:
            await self._bell.wait()

    async def renew(self) -> None:
        """Prolong all leases, three times within their length; end the turns whose lease is lost."""
        await asyncio.sleep(self._settings.lease_seconds / 3)
        held = [turn.lease for turn, _ in self._running.values()]
        kept = await leases.renew(self._db, held, seconds=self._settings.lease_seconds)
        for lease in held:
            running = self._running.get(lease.conversation)
            # A turn that ended meanwhile has given its lease back by itself.
            if running is not None and running[0].lease == lease and lease.conversation not in kept:
                log.info("another worker has taken over", turn=running[0].id)
                running[1].cancel("lease lost")

    async def drain(self, client: Client, wake: str) -> None:
        """Finish what is running within `drain_seconds` and hand over the rest, so that others begin at once.

        Acquiring must have stopped before, renewing must go on meanwhile. Raises temporary errors.
        """
        tasks = {task for _, task in self._running.values()}
        if tasks:
            log.info("finishing turns", turns=len(tasks), seconds=self._settings.drain_seconds)
            _, late = await asyncio.wait(tasks, timeout=self._settings.drain_seconds)
            for task in late:
                task.cancel("drained")
            await asyncio.gather(*late, return_exceptions=True)
        # Also what an acquire leased to us that was cut off before we heard of it.
        handed_over = await leases.release(self._db, holder=self._holder)
        if handed_over:
            log.info("turns handed over", turns=handed_over)
            if client.is_connected:
                await client.publish(wake, b"")

    def _begin(self, turn: Turn) -> None:
        conversation = turn.lease.conversation
        task = asyncio.create_task(self._run(turn), name=f"turn {turn.id}")
        self._running[conversation] = (turn, task)
        task.add_done_callback(lambda _: self._ended(conversation))

    def _ended(self, conversation: str) -> None:
        self._running.pop(conversation, None)
        # Looking is worth it where work had to wait for room, or for this user's turns to become fewer.
        if self._more:
            self._bell.ring()

    async def _run(self, turn: Turn) -> None:
        began = time.monotonic()
        outcome = ""
        instruments.in_flight.add(1)
        try:
            ending = await self._runner.run(turn)
            outcome = ending.outcome
            self._more = self._more or ending.more
            if outcome == "retried":
                asyncio.get_running_loop().call_later(ending.again, self._bell.ring)
        except asyncio.CancelledError as e:
            outcome = "lost_lease" if "lease lost" in e.args else ""
            raise
        except HeraldError as e:
            # Its lease runs out, and somebody tries again; there is nothing else left to write.
            log.error("turn could not be ended", turn=turn.id, problem=str(e))
        finally:
            instruments.in_flight.add(-1)
            if outcome:
                instruments.turns.add(1, {"outcome": outcome})
                instruments.turn_seconds.record(time.monotonic() - began, {"outcome": outcome})
