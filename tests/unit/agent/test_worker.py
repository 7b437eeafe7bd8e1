"""When a worker looks for work: rings are not lost while it is full, and it does not look for nothing."""

import asyncio
from typing import Any

import pytest

from herald_agent.store import acquire as store
from herald_agent.store.acquire import Acquired
from herald_agent.turn import Ending
from herald_agent.worker import Worker
from herald_contracts.settings import AgentSettings
from herald_runtime.waking import Bell
from tests.unit.agent.test_command import SETTINGS
from tests.unit.agent.values import message, opened, turn
from tests.waiting import eventually


class Runner:
    """Runs turns until told to end them."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Future[Ending]] = {}

    async def run(self, turn: Any) -> Ending:
        self.running[turn.id] = asyncio.get_running_loop().create_future()
        return await self.running[turn.id]

    async def end(self, ending: Ending) -> None:
        await eventually(lambda: self.running, what="a running turn")
        self.running.popitem()[1].set_result(ending)


class Store:
    """Hands out what it was given, one answer per look."""

    def __init__(self, *answers: Acquired) -> None:
        self.answers = list(answers)
        self.looks = 0

    async def acquire(self, *_: object, **__: object) -> Acquired:
        self.looks += 1
        return self.answers.pop(0) if self.answers else Acquired((), more=False)


class Desk:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Acquired) -> None:
        self.store, self.runner = Store(*answers), Runner()
        monkeypatch.setattr(store, "acquire", self.store.acquire)
        # Rings by itself only after an hour: whatever happens here happens because somebody rang.
        self.bell = Bell(3_600)
        settings = AgentSettings.model_validate(SETTINGS | {"concurrency": 1})
        self.worker = Worker(settings, None, self.runner, self.bell, opened(), holder="w1")  # type: ignore[arg-type]
        self.task = asyncio.create_task(self._loop())

    async def _loop(self) -> None:
        while True:
            await self.worker.once()

    async def looked(self, times: int) -> None:
        await eventually(lambda: self.store.looks == times, what=f"{times} looks")


def one(event: str, *, more: bool = False) -> Acquired:
    return Acquired((turn(message(event, chat=event)),), more=more)


NOTHING = Acquired((), more=False)


async def test_work_that_came_while_it_was_full_is_begun_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, one("e1"), one("e2"))
    await eventually(lambda: desk.worker.running == 1)
    desk.bell.ring()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await desk.runner.end(Ending("done"))
    await desk.looked(2)
    await eventually(lambda: desk.runner.running)
    desk.task.cancel()


@pytest.mark.parametrize(
    ("first", "ending", "looks"),
    [
        (one("e1"), Ending("done"), False),
        (one("e1", more=True), Ending("done"), True),
        (one("e1"), Ending("done", more=True), True),
        (one("e1"), Ending("retried", again=0.01), True),
    ],
)
async def test_it_looks_again_where_that_is_worth_it(
    monkeypatch: pytest.MonkeyPatch, first: Acquired, ending: Ending, looks: bool
) -> None:
    desk = Desk(monkeypatch, first)
    await desk.runner.end(ending)
    await eventually(lambda: desk.worker.running == 0)
    if looks:
        await eventually(lambda: desk.store.looks >= 2, what="a second look")
    else:
        for _ in range(20):
            await asyncio.sleep(0)
        assert desk.store.looks == 1
    desk.task.cancel()
