"""Which deployment is looked at next: a queue where a name waits at most once and is worked on by one at a time.

kopf's daemons are not used for this: it starts none for an object that is being deleted, so an operator that was
restarted in the middle of a deletion would skip the rest of it; and it puts no bound on how many work at once.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from herald_contracts.errors import HeraldError
from herald_runtime import logs

Key = tuple[str, str]  # namespace, name
_FIRST, _MOST = 0.5, 20.0  # seconds to wait after a failure
_BROKEN = 60.0  # after a bug
log = logs.get("queue")


@dataclass(slots=True)
class _State:
    working: bool = False
    again: bool = False
    failures: int = 0
    due: float | None = None


@dataclass(slots=True)
class Queue:
    """`work(key)` returns after how many seconds to look again, None when only an event is a reason.

    A failure is tried again, later each time. `run` ends only by cancellation.
    """

    work: Callable[[Key], Awaitable[float | None]]
    workers: int = 8
    _ready: "asyncio.Queue[Key]" = field(default_factory=asyncio.Queue)
    _states: dict[Key, _State] = field(default_factory=dict)
    _later: list[tuple[float, int, Key]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)
    finished: int = 0

    @property
    def waiting(self) -> int:
        """How many are to be looked at now."""
        return self._ready.qsize()

    def add(self, key: Key) -> None:
        """Something has happened to it."""
        state = self._states.get(key)
        if state is None:
            self._states[key] = _State()
            self._ready.put_nowait(key)
        elif state.working:
            state.again = True
        elif state.due is not None:
            state.due = None
            self._ready.put_nowait(key)

    def forget(self, key: Key) -> None:
        """It is gone: no look later. One that is in progress is finished."""
        state = self._states.get(key)
        if state is not None and state.due is not None:
            del self._states[key]

    async def run(self) -> None:
        """Work until cancelled."""
        tasks = [asyncio.create_task(self._worker(), name=f"worker {n}") for n in range(self.workers)]
        tasks.append(asyncio.create_task(self._clock(), name="clock"))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _worker(self) -> None:
        while True:
            key = await self._ready.get()
            state = self._states.get(key)
            if state is None or state.working:
                continue
            state.working, state.again, state.due = True, False, None
            wait = await self._once(key, state)
            state.working = False
            self.finished += 1
            if state.again:
                self._ready.put_nowait(key)
            elif wait is None:
                del self._states[key]
            else:
                state.due = asyncio.get_running_loop().time() + wait
                heapq.heappush(self._later, (state.due, next(self._count), key))
                self._changed.set()

    async def _once(self, key: Key, state: _State) -> float | None:
        try:
            wait = await self.work(key)
        except HeraldError as e:
            state.failures += 1
            wait = backoff(state.failures)
            log.warning("will try again", deployment="/".join(key), problem=str(e), kind=type(e).__name__, seconds=wait)
            return wait
        except Exception:
            # A bug, or garbage that nobody thought of: the others must not wait for it.
            state.failures += 1
            log.exception("broke", deployment="/".join(key))
            return _BROKEN
        state.failures = 0
        return wait

    async def _clock(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            now = loop.time()
            while self._later and self._later[0][0] <= now:
                due, _, key = heapq.heappop(self._later)
                state = self._states.get(key)
                if state is not None and state.due == due:
                    state.due = None
                    self._ready.put_nowait(key)
            wait = self._later[0][0] - now if self._later else None
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue


def backoff(failures: int) -> float:
    """Seconds after this many failures in a row; with a share of chance, so that many do not return at once."""
    # Bounded: two to the power of a day's failures is no number any more.
    return min(_MOST, _FIRST * 2.0 ** min(failures - 1, 16)) * random.uniform(0.8, 1.2)
