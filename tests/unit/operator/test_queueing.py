"""The queue: one at a time per name, one more pass for what happens meanwhile, later and later after failures.

The loop's clock jumps to the next timer whenever nothing else is to be done, so that an hour passes in no time.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from herald_contracts.errors import TemporaryError
from herald_operator.queueing import Key, Queue, backoff

A, B = ("team", "a"), ("team", "b")


class _Jumping(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._jumped = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None = None) -> Any:
            if timeout:
                self._jumped += timeout
            return select(0 if timeout is not None else None)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return super().time() + self._jumped


def played(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = _Jumping()
    try:
        loop.run_until_complete(story())
    finally:
        loop.close()


class Work:
    """Notes when it was asked for what; `answers` are taken in turn, the last again and again."""

    def __init__(self, *answers: float | Exception | None, seconds: float = 0.0) -> None:
        self.answers = list(answers) or [None]
        self.seconds = seconds
        self.calls: list[tuple[str, float]] = []
        self.at_once: dict[Key, int] = {}
        self.most = 0

    async def __call__(self, key: Key) -> float | None:
        self.calls.append((key[1], asyncio.get_running_loop().time()))
        self.at_once[key] = self.at_once.get(key, 0) + 1
        assert self.at_once[key] == 1, "two at work on one"
        self.most = max(self.most, sum(self.at_once.values()))
        await asyncio.sleep(self.seconds)
        self.at_once[key] -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def gaps(self) -> list[float]:
        return [round(b[1] - a[1], 2) for a, b in zip(self.calls, self.calls[1:], strict=False)]


async def during(queue: Queue, body: Awaitable[None]) -> None:
    running = asyncio.create_task(queue.run())
    await body
    assert not running.done(), running
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_name_waits_once_however_often_it_is_added() -> None:
    async def story() -> None:
        queue = Queue(work := Work())
        for _ in range(5):
            queue.add(A)
        assert queue.waiting == 1
        await during(queue, asyncio.sleep(1))
        assert [name for name, _ in work.calls] == ["a"]
        assert (queue.waiting, queue.finished) == (0, 1)

    played(story)


def test_what_happens_during_the_work_is_one_more_pass() -> None:
    async def story() -> None:
        queue = Queue(work := Work(seconds=10))

        async def body() -> None:
            queue.add(A)
            await asyncio.sleep(1)
            for _ in range(5):
                queue.add(A)
            await asyncio.sleep(100)

        await during(queue, body())
        assert work.gaps == [10.0]

    played(story)


def test_several_are_worked_on_at_once_but_no_more_than_there_are_workers() -> None:
    async def story() -> None:
        queue = Queue(work := Work(seconds=1), workers=3)
        for n in range(9):
            queue.add(("team", str(n)))
        await during(queue, asyncio.sleep(10))
        assert (len(work.calls), work.most) == (9, 3)

    played(story)


def test_it_looks_again_when_it_was_told_to() -> None:
    async def story() -> None:
        queue = Queue(work := Work(60.0, 5.0, None))
        queue.add(A)
        await during(queue, asyncio.sleep(1_000))
        assert work.gaps == [60.0, 5.0]

    played(story)


def test_an_event_comes_before_the_time_and_that_time_does_not_count_any_more() -> None:
    async def story() -> None:
        queue = Queue(work := Work(60.0, 100.0, None))

        async def body() -> None:
            queue.add(A)
            await asyncio.sleep(10)
            queue.add(A)
            await asyncio.sleep(1_000)

        await during(queue, body())
        assert work.gaps == [10.0, 100.0]

    played(story)


def test_the_earliest_is_first_among_those_that_wait() -> None:
    async def story() -> None:
        answers = {A: 60.0, B: 20.0}
        calls: list[tuple[str, float]] = []

        async def work(key: Key) -> float | None:
            calls.append((key[1], round(asyncio.get_running_loop().time() - began)))
            return answers.pop(key, None)

        queue = Queue(work, workers=1)
        began = asyncio.get_running_loop().time()
        queue.add(A)
        queue.add(B)
        await during(queue, asyncio.sleep(100))
        assert calls == [("a", 0), ("b", 0), ("b", 20), ("a", 60)]

    played(story)


def test_failures_are_tried_again_later_each_time_and_a_success_ends_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: 1.0)

    async def story() -> None:
        down = TemporaryError("down")
        queue = Queue(work := Work(*[down] * 9, 1.0, down, 1_000.0))
        queue.add(A)
        await during(queue, asyncio.sleep(600))
        assert work.gaps == [0.5, 1, 2, 4, 8, 16, 20, 20, 20, 1, 0.5]

    played(story)


def test_a_bug_about_one_does_not_hold_up_the_others() -> None:
    async def story() -> None:
        calls: list[str] = []

        async def work(key: Key) -> float | None:
            calls.append(key[1])
            if key == A:
                raise ZeroDivisionError
            return None

        queue = Queue(work, workers=1)
        queue.add(A)
        queue.add(B)
        await during(queue, asyncio.sleep(70))
        assert calls == ["a", "b", "a"]

    played(story)


def test_what_is_forgotten_is_not_looked_at_later() -> None:
    async def story() -> None:
        queue = Queue(work := Work(60.0))

        async def body() -> None:
            queue.add(A)
            await asyncio.sleep(1)
            queue.forget(A)
            queue.forget(B)
            await asyncio.sleep(1_000)
            assert len(work.calls) == 1
            queue.add(A)
            await asyncio.sleep(1)
            assert len(work.calls) == 2

        await during(queue, body())

    played(story)


@pytest.mark.parametrize("failures", [1, 2, 8, 100, 10_000])
def test_days_of_failures_are_no_failure_of_the_queue(failures: int) -> None:
    assert 0.4 <= backoff(failures) <= 72
