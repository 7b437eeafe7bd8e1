"""One child's life: started, watched until it is ready, restarted when it dies, stopped when it is time.

Restarting is all that is done for a part that dies, so every part of Herald must be able to lose its process at
any moment; what it wrote down before is what counts.
"""

import asyncio
import collections
import contextlib
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

from herald_cli import children, guard, logfiles, processes, spawning
from herald_cli.backoff import Backoff
from herald_cli.board import Board
from herald_cli.processes import Process
from herald_cli.servers.program import Program
from herald_contracts.errors import ConfigurationError, PermanentError

_ATTEMPTS = 3  # to become ready for the first time
_WATCH_SECONDS = 2.0
_LAST_LINES = 12


class StartFailed(PermanentError):
    """A part could not be brought up; the text is the reason and its last lines."""


class _TooSlow(Exception):
    """Not ready within its time."""


class Keeper:
    """Keeps one program running. `ready` is set while it is; `keep` returns after `stop`.

    `keep` raises StartFailed or ConfigurationError when the program has never been ready and will not be.
    """

    def __init__(self, program: Program, board: Board, logs: Path, last_resort: children.Guard) -> None:
        self.program = program
        self.ready = asyncio.Event()
        self._board = board
        self._guard = last_resort
        self._log = logfiles.RotatingLog(logs / f"{program.name}.log")
        self._last: collections.deque[logfiles.Entry] = collections.deque(maxlen=_LAST_LINES)
        self._stopping = asyncio.Event()
        self._running: Process | None = None
        self._gone = asyncio.Event()
        self._gone.set()
        self._ever_ready = False
        self._hopeless = asyncio.Event()

    async def keep(self) -> None:
        backoff, failures = Backoff(), 0
        while not self._stopping.is_set():
            try:
                reason, ran, refused = await self._once()
            except ConfigurationError as e:
                self._update(state="refused", last_error=str(e), pid=None, started=None)
                if not self._ever_ready:
                    raise
                reason, ran, refused = str(e), 0.0, False
            if self._stopping.is_set():
                break
            self._note(f"ended: {reason}", "error")
            failures += 1
            if not self._ever_ready and (refused or failures >= _ATTEMPTS):
                self._update(state="refused" if refused else "failed", last_error=reason, pid=None, started=None)
                raise StartFailed(self._story(reason))
            if refused:
                self._update(state="refused", last_error=reason, pid=None, started=None)
                await self._stopping.wait()
                break
            backoff = backoff.after(ran)
            restarts = self._board.component(self.program.name).restarts + 1
            self._update(state="restarting", last_error=reason, restarts=restarts, pid=None, started=None)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff.delay)
        self._note("stopped", "info")
        self._update(state="stopped", pid=None, started=None)

    def close(self) -> None:
        """After `keep` has ended, however it did."""
        self._log.close()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Ask it to end, and make it end when it does not within its time, or at once when `hurry` is set."""
        self._stopping.set()
        running = self._running
        if running is None:
            await self._gone.wait()
            return
        self._update(state="stopping")
        tree = processes.tree(running)
        running.send(self.program.stop_signal)
        for process in tree:
            process.send(signal.SIGCONT)  # one that is stopped would never see the request
        hurried, gone = asyncio.create_task(hurry.wait()), asyncio.create_task(self._gone.wait())
        await asyncio.wait((hurried, gone), timeout=self.program.stop_seconds, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        gone.cancel()
        if not self._gone.is_set():
            self._note("does not stop: killed", "warning")
            processes.kill({*tree, *processes.tree(running), *processes.session(running)})
        await self._gone.wait()

    async def _once(self) -> tuple[str, float, bool]:
        """Start it and see it end: why, for how many seconds it was ready, and whether trying again is pointless."""
        begun = asyncio.get_running_loop().time()
        self._update(state="preparing")
        await asyncio.to_thread(children.prepare, self.program)
        if self._stopping.is_set():
            return "", 0.0, False
        self._last.clear()
        self._hopeless.clear()
        child = await spawning.start(self.program, self._heard)
        self._running = child.process
        self._gone.clear()
        if child.process is not None:
            self._guard.watch(child.process, self.program.litter)
            process, now = child.process, datetime.now(UTC)
            self._update(state="starting", pid=process.pid, started=process.started, since=now)
        watch = asyncio.create_task(self._watch(begun))
        exit_ = asyncio.create_task(child.wait())
        hopeless = asyncio.create_task(self._hopeless.wait())
        slow, ran = False, 0.0
        try:
            await asyncio.wait((watch, exit_, hopeless), return_when=asyncio.FIRST_COMPLETED)
            if not exit_.done() and child.process is not None:
                processes.kill({*processes.tree(child.process), *processes.session(child.process)})
            code = await exit_
        finally:
            hopeless.cancel()
            watch.cancel()
            try:
                ran = await watch
            except asyncio.CancelledError:
                ran = 0.0
            except _TooSlow:
                slow = True
            finally:
                self.ready.clear()
                self._clean(child)
        if slow:
            return self._reason(f"not ready within {self.program.start_seconds:g} s"), 0.0, False
        if self._hopeless.is_set():
            return self._reason("could not go on without a restart"), ran, False
        return self._reason(_how(code)), ran, code == os.EX_CONFIG

    async def _watch(self, begun: float) -> float:
        """Set `ready` when it is, and show when it no longer answers. The seconds since, once cancelled."""
        loop, pause = asyncio.get_running_loop(), 0.05
        while not await self.program.ready():
            if loop.time() - begun > self.program.start_seconds:
                raise _TooSlow
            await asyncio.sleep(pause)
            pause = min(pause * 1.2, 0.25)
        since, self._ever_ready = loop.time(), True
        self._update(state="ready", seconds=round(since - begun, 2), address=self.program.address)
        self.ready.set()
        misses = 0
        try:
            while True:
                await asyncio.sleep(_WATCH_SECONDS)
                misses = 0 if await self.program.ready() else misses + 1
                if not self._stopping.is_set():
                    self._update(state="unready" if misses > 1 else "ready")
        except asyncio.CancelledError:
            return loop.time() - since

    def _clean(self, child: spawning.Child) -> None:
        """Nothing of it may stay: not its own children, not its files in shared memory."""
        if child.process is not None:
            left = processes.session(child.process)
            processes.kill(left)
            processes.wait_gone(left, 2)
            guard.sweep(self.program.litter)
            self._guard.forget(child.process)
        child.finish()
        self._running = None
        self._gone.set()

    def _update(self, **changes: object) -> None:
        self._board.update(self.program.name, **changes)

    def _heard(self, line: str) -> None:
        text = logfiles.entry(self.program.name, line, datetime.now(UTC))
        self._last.append(logfiles.parse(text))
        if self.program.hopeless is not None and self.program.hopeless.search(line):
            self._hopeless.set()
        self._log.write(text)

    def _note(self, event: str, level: str) -> None:
        """A line of ours in the component's own log, so that its story reads in one place."""
        self._log.write(logfiles.note(self.program.name, event, level, datetime.now(UTC)))

    def _reason(self, how: str) -> str:
        errors = [entry for entry in self._last if entry.level == "error"]
        told = (errors or list(self._last))[-1:]
        return f"{how}: {told[0].event[:400]}" if told and told[0].event else how

    def _story(self, reason: str) -> str:
        lines = "\n".join(f"    {entry.event[:300]}" for entry in self._last)
        return f"{self.program.name} did not start: {reason}\n  its last lines:\n{lines}"


def _how(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return "configuration refused" if code == os.EX_CONFIG else f"exit code {code}"
