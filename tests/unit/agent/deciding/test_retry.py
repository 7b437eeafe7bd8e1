"""Every failure ends in another try within the budget, or in a dead letter with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_agent.deciding import failure
from herald_agent.deciding.retry import REASONS, Dead, Failure, Retry, after, time_left


@pytest.mark.parametrize(
    ("what", "attempts", "age", "expected"),
    [
        ("unavailable", 1, 0, Retry(0.25)),
        ("unavailable", 2, 0, Retry(0.5)),
        ("unavailable", 5, 60, Retry(4.0)),
        ("unavailable", 6, 60, Retry(5.0)),
        ("unavailable", 1_000, 60, Retry(5.0)),
        ("unavailable", 1, 119.8, None),
        ("unavailable", 1, 500, None),
        ("too_slow", 1, 10, Retry(0.25)),
        ("too_slow", 2, 120, None),
        ("empty", 1, 0, Retry(0.25)),
        ("empty", 2, 0, Retry(0.5)),
        ("empty", 3, 0, None),
        ("broken", 2, 0, Retry(0.5)),
        ("broken", 3, 0, None),
        ("refused", 1, 0, None),
        ("unknown_outcome", 1, 0, None),
    ],
)
def test_the_table(what: Failure, attempts: int, age: float, expected: Retry | None) -> None:
    decision = after(what, attempts=attempts, age=age, turn_seconds=120)
    if expected is None:
        assert isinstance(decision, Dead)
        assert decision.reason.startswith(REASONS[what])
    else:
        assert decision == expected


def test_the_pause_that_the_other_side_asks_for_is_kept_unless_the_time_is_up() -> None:
    assert after("unavailable", attempts=1, age=0, turn_seconds=120, retry_after=30) == Retry(30)
    assert after("unavailable", attempts=6, age=0, turn_seconds=120, retry_after=1) == Retry(5)
    assert isinstance(after("unavailable", attempts=1, age=100, turn_seconds=120, retry_after=30), Dead)


def test_the_reason_tells_the_operator_more() -> None:
    decision = after("refused", attempts=1, age=0, turn_seconds=120, detail="ModelRefused")
    assert decision == Dead("the model cannot take this request (ModelRefused)")


@given(
    what=st.sampled_from(sorted(REASONS)),
    attempts=st.integers(1, 10**6),
    age=st.floats(0, 1e6),
    jitter=st.floats(0, 0.999),
)
def test_no_turn_is_tried_beyond_its_budget(what: Failure, attempts: int, age: float, jitter: float) -> None:
    decision = after(what, attempts=attempts, age=age, turn_seconds=120, jitter=jitter)
    if isinstance(decision, Retry):
        assert 0 < decision.delay <= 7.5
        assert age + decision.delay < 120


@pytest.mark.parametrize(("age", "left"), [(0, 120), (60, 60), (100, 30), (119, 30), (10_000, 30)])
def test_a_late_attempt_gets_a_quarter(age: float, left: float) -> None:
    assert time_left(age=age, turn_seconds=120) == left


@pytest.mark.parametrize("what", [*REASONS, None])
def test_the_person_is_told_shortly_and_nothing_of_our_insides(what: Failure | None) -> None:
    told = failure.text(what)
    assert 20 < len(told) < 200
    assert not any(word in told.lower() for word in ("error", "exception", "triton", "timeout", "database", "none"))
