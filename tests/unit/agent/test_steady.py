"""Going on through temporary failures, and stopping at permanent ones."""

import asyncio

import pytest
from nats.errors import ConnectionClosedError
from nats.errors import TimeoutError as NatsTimeout

from herald_agent.errors import StoreRefused, StoreUnavailable
from herald_agent.steady import Backoff, Conditions, forever, persist

QUICK = Backoff(0.0, 0.0)


class Flaky:
    """Fails as often as it is told, then works."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise StoreUnavailable("away")
        return "result"


async def test_a_temporary_failure_is_tried_until_it_works() -> None:
    conditions, flaky = Conditions(), Flaky(5)
    assert await persist("x", flaky, conditions, backoff=QUICK) == "result"
    assert flaky.calls == 6
    assert conditions.down == {}


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), NatsTimeout(), ConnectionClosedError()])
async def test_a_broken_connection_is_temporary(error: Exception) -> None:
    failures = [error]

    async def publish() -> None:
        if failures:
            raise failures.pop()

    await persist("nats", publish, Conditions(), backoff=QUICK)
    assert failures == []


async def test_meanwhile_it_shows_as_down() -> None:
    conditions = Conditions()
    seen: list[dict[str, str]] = []

    async def look() -> None:
        seen.append(conditions.down)
        if len(seen) < 3:
            raise StoreUnavailable("away")

    await persist("database", look, conditions, backoff=QUICK)
    assert seen == [{}, {"database": "StoreUnavailable"}, {"database": "StoreUnavailable"}]


async def test_a_permanent_failure_ends_it() -> None:
    calls = 0

    async def refused() -> None:
        nonlocal calls
        calls += 1
        raise StoreRefused("no")

    with pytest.raises(StoreRefused):
        await forever("x", refused, Conditions(), backoff=QUICK)
    assert calls == 1


async def test_a_bug_is_not_swallowed() -> None:
    async def bug() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await persist("x", bug, Conditions(), backoff=QUICK)


async def test_it_goes_on_until_cancelled() -> None:
    calls = 0
    enough = asyncio.Event()

    async def once() -> None:
        nonlocal calls
        calls += 1
        if calls == 10:
            enough.set()
        if calls % 2:
            raise StoreUnavailable("away")
        await asyncio.sleep(0)

    task = asyncio.create_task(forever("x", once, Conditions(), backoff=QUICK))
    await enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_one_line_when_it_begins_and_one_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Log:
        def warning(self, event: str, **_: object) -> None:
            lines.append(event)

        info = warning

    monkeypatch.setattr("herald_agent.steady.log", Log())
    conditions = Conditions()
    for _ in range(100):
        conditions.failed("database", StoreUnavailable("away"))
    for _ in range(100):
        conditions.worked("database")
    assert lines == ["waiting", "working again"]


@pytest.mark.parametrize(
    ("failures", "pause"), [(1, 0.05), (2, 0.1), (3, 0.2), (5, 0.8), (6, 1.0), (100, 1.0), (10**6, 1.0)]
)
def test_pauses_grow_and_are_bounded(failures: int, pause: float) -> None:
    assert Backoff().after(failures) == pytest.approx(pause)
