"""Waiting for a condition with a deadline: the only kind of waiting that tests do."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(look: Callable[[], Awaitable[T | None]], *, within: float = 20, what: str = "") -> T: ...
@overload
async def eventually(look: Callable[[], T | None], *, within: float = 20, what: str = "") -> T: ...


async def eventually(look: Callable[[], T | Awaitable[T | None] | None], *, within: float = 20, what: str = "") -> T:
    """The first true answer of `look`, asked again and again for `within` seconds. Raises AssertionError."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        answer: T | None = await seen if inspect.isawaitable(seen) else seen
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within:g} s: {what or look} (last seen: {answer!r})")
        await asyncio.sleep(0.02)


def eventually_sync(look: Callable[[], T | None], *, within: float = 20, what: str = "") -> T:
    """The same, for tests without a loop."""
    deadline = time.monotonic() + within
    while not (answer := look()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within:g} s: {what or look} (last seen: {answer!r})")
        time.sleep(0.02)
    return answer
