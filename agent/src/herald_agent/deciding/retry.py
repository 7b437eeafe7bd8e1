"""Whether a turn that failed is tried again, and when: a function of what failed and how long it has taken.

Nothing hangs: every road ends in an answer or in a dead letter with a reason, at the latest when the turn's time
budget is used up. The budget begins anew when a worker died under the turn, which is bounded by itself.
"""

from dataclasses import dataclass
from typing import Literal

Failure = Literal["unavailable", "too_slow", "refused", "empty", "broken", "unknown_outcome"]

MOST_ADOPTIONS = 5  # a turn that brought down this many workers is not given a sixth
_MOST_ATTEMPTS = 3  # where trying again seldom helps
_FIRST, _LONGEST = 0.25, 5.0  # seconds

REASONS: dict[Failure, str] = {
    "unavailable": "the model was not available",
    "too_slow": "the model was too slow",
    "refused": "the model cannot take this request",
    "empty": "the model gave an empty answer",
    "broken": "an error inside Herald",
    "unknown_outcome": "a step was cut off, and whether it happened is not known",
}
POISON = f"{MOST_ADOPTIONS} workers in a row fell silent while they were on it"


@dataclass(frozen=True, slots=True)
class Retry:
    """Begin the turn again after `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Dead:
    """Give up. `reason` is for whoever runs Herald, not for the person who wrote."""

    reason: str


def after(
    failure: Failure,
    *,
    attempts: int,
    age: float,
    turn_seconds: float,
    retry_after: float | None = None,
    jitter: float = 0.0,
    detail: str = "",
) -> Retry | Dead:
    """What to do after the `attempts`-th attempt failed, `age` seconds into a budget of `turn_seconds`.

    `retry_after` is the pause the other side asked for; `jitter` in [0, 1) spreads the retries of many turns.
    """
    reason = REASONS[failure] + (f" ({detail})" if detail else "")
    if failure in ("refused", "unknown_outcome"):
        return Dead(reason)
    if failure in ("empty", "broken") and attempts >= _MOST_ATTEMPTS:
        return Dead(f"{reason}, {attempts} times")
    delay = min(_LONGEST, _FIRST * 2 ** min(max(attempts, 1) - 1, 20)) * (1 + jitter / 2)
    delay = max(delay, retry_after or 0.0)
    if age + delay >= turn_seconds:
        return Dead(f"{reason}; tried {attempts} times within {turn_seconds:g} s")
    return Retry(delay)


def time_left(*, age: float, turn_seconds: float) -> float:
    """Seconds that this attempt may take. An attempt that began late still gets a quarter of the budget.

    Late begins happen when the store was away in between: that is not the turn's fault.
    """
    return max(turn_seconds - age, turn_seconds / 4)
