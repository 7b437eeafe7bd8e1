"""Named points before and after everything a worker does to the outside, so that a test can end the worker there.

"No message is lost under a kill at any moment" is proven by killing a real worker process at each of these moments,
not by luck. In production `reach` is `nothing` and no setting or variable can change that: only a program that
builds a worker itself, as the crash test's own entry does, can pass another.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
Reach = Callable[[str], None]

# What each name stands for: one statement, one call of the model or of memory, one publish, one acknowledgement.
ACTIONS = (
    "intake.take",
    "intake.claim",
    "acquire",
    "recall",
    "step.begin",
    "model.generate",
    "memory.remember",
    "finish.answer",
    "finish.note",
    "finish.retry",
    "finish.bury",
    "relay.publish",
    "relay.mark",
    "receipts.record",
    "receipts.ack",
)
POINTS = tuple(f"{when} {action}" for action in ACTIONS for when in ("before", "after"))


def nothing(_: str) -> None:
    """What production does at a crash point."""


async def around(reach: Reach, action: str, doing: Awaitable[T]) -> T:
    """Await `doing`, which has not begun yet, between its two points."""
    reach(f"before {action}")
    result = await doing
    reach(f"after {action}")
    return result
