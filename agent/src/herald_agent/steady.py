"""Going on through temporary failures: the one place that catches them, waits, and says when they begin and end.

Every loop of a worker is `forever(...)` and every write that must happen is `persist(...)`; so an outage of
PostgreSQL or NATS is a pause, with two log lines and a readiness that is false meanwhile, and never an exit.
A permanent error is a bug or a wrong setting: it ends the loop, and with it the process, for all to see.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from nats.errors import Error as NatsError

from herald_agent.errors import from_transport
from herald_contracts.errors import HeraldError
from herald_runtime import logs

T = TypeVar("T")
log = logs.get("steady")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts: `first`, doubling, at most `most`."""

    first: float = 0.05
    most: float = 1.0

    def after(self, failures: int) -> float:
        """The pause after the `failures`-th failure in a row, from 1. Pure."""
        return float(min(self.most, self.first * 2 ** min(failures - 1, 30)))


class Conditions:
    """What is failing right now, by name: what readiness looks at."""

    def __init__(self) -> None:
        self._down: dict[str, str] = {}

    @property
    def down(self) -> dict[str, str]:
        return dict(self._down)

    def failed(self, name: str, error: HeraldError) -> None:
        if name not in self._down:
            log.warning("waiting", what=name, problem=str(error), kind=type(error).__name__)
        self._down[name] = type(error).__name__

    def worked(self, name: str) -> None:
        if self._down.pop(name, None) is not None:
            log.info("working again", what=name)


async def forever(
    name: str, once: Callable[[], Awaitable[None]], conditions: Conditions, *, backoff: Backoff | None = None
) -> None:
    """Await `once()` again and again, until cancelled or a permanent error; `once` does its own waiting for work."""
    while True:
        await persist(name, once, conditions, backoff=backoff)


async def persist(
    name: str, attempt: Callable[[], Awaitable[T]], conditions: Conditions, *, backoff: Backoff | None = None
) -> T:
    """The result of `attempt()`, tried again through temporary errors for as long as they last.

    `attempt` must mean the same when it runs twice: the outcome of a failed one is not known.
    """
    pauses = backoff or Backoff()
    failures = 0
    while True:
        try:
            result = await attempt()
        except (HeraldError, NatsError, OSError) as e:
            error = e if isinstance(e, HeraldError) else from_transport(e)
            if not error.retryable:
                conditions.worked(name)
                raise
            failures += 1
            conditions.failed(name, error)
            await asyncio.sleep(pauses.after(failures))
        else:
            conditions.worked(name)
            return result
