"""Runs a plan: everything that can start at the same time does, what dies is restarted, the end is in order."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from herald_cli import children
from herald_cli.backoff import Backoff
from herald_cli.board import Board
from herald_cli.keeper import Keeper
from herald_cli.servers.program import Program
from herald_contracts.errors import TemporaryError

_STEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """Something done once, between the servers and the services that need it."""

    name: str
    needs: tuple[str, ...]
    do: Callable[[], Awaitable[None]]


class Supervisor:
    """`run` returns when `stop` was set and everything is down, or raises why it could not come up."""

    def __init__(
        self,
        programs: tuple[Program, ...],
        steps: tuple[Step, ...],
        stop_order: tuple[tuple[str, ...], ...],
        board: Board,
        logs: Path,
    ) -> None:
        self._steps = steps
        self._stop_order = stop_order
        self._board = board
        self._guard = children.Guard()
        self._keepers = {p.name: Keeper(p, board, logs, self._guard) for p in programs}
        self._done = {step.name: asyncio.Event() for step in steps}

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """`hurry` ends the waiting for those that take their time to stop."""
        lives = [asyncio.create_task(self._live(keeper), name=name) for name, keeper in self._keepers.items()]
        steps = [asyncio.create_task(self._take(step), name=step.name) for step in self._steps]
        stopped = asyncio.create_task(stop.wait())
        up = asyncio.create_task(self._all_ready())
        try:
            pending: set[asyncio.Task[object]] = {*lives, *steps, stopped, up}
            while not stopped.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                if up in done:
                    self._board.phase("running")
        finally:
            for task in (up, stopped, *steps):
                task.cancel()
            if self._board.snapshot.phase in ("starting", "running"):
                self._board.phase("stopping")
            await self._stop(hurry)
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, *steps, up, stopped, return_exceptions=True)
            for keeper in self._keepers.values():
                keeper.close()
            self._guard.farewell()

    async def _live(self, keeper: Keeper) -> None:
        for name in keeper.program.needs:
            await self._event(name).wait()
        await keeper.keep()

    async def _take(self, step: Step) -> None:
        for name in step.needs:
            await self._event(name).wait()
        loop = asyncio.get_running_loop()
        begun, backoff = loop.time(), Backoff()
        self._board.update(step.name, state="starting", since=datetime.now(UTC))
        while True:
            try:
                await step.do()
                break
            except TemporaryError as e:
                self._board.update(step.name, last_error=str(e))
                if loop.time() - begun > _STEP_SECONDS:
                    self._board.update(step.name, state="failed")
                    raise
                backoff = backoff.after(0)
                await asyncio.sleep(backoff.delay)
        self._board.update(step.name, state="ready", seconds=round(loop.time() - begun, 2), last_error="")
        self._done[step.name].set()

    async def _all_ready(self) -> None:
        for event in (*self._done.values(), *(keeper.ready for keeper in self._keepers.values())):
            await event.wait()

    def _event(self, name: str) -> asyncio.Event:
        return self._done[name] if name in self._done else self._keepers[name].ready

    async def _stop(self, hurry: asyncio.Event) -> None:
        for group in self._stop_order:
            await asyncio.gather(*(self._keepers[name].stop(hurry) for name in group))
