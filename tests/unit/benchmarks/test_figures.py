import pytest
from benchmarks.figures import Figure, latency, median, over_rounds, percentile, ratio
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(("values", "expected"), [([3], 3), ([4, 1], 2.5), ([9, 1, 5], 5), ([1, 2, 3, 100], 2.5)])
def test_median(values: list[float], expected: float) -> None:
    assert median(values) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [(50, 50), (99, 99), (99.1, 100), (100, 100), (1, 1), (0.001, 1)],
)
def test_percentile_is_nearest_rank(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_percentile_of_few_is_the_highest() -> None:
    assert percentile([1.0, 7.0, 3.0], 99) == 7.0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_a_percentile_occurred_and_enough_are_not_above_it(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share / 100 * len(values) - 1e-9


@pytest.mark.parametrize("share", [0, -1, 100.1])
def test_a_share_outside_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="not in"):
        percentile([1.0], share)


def test_nothing_has_no_statistics() -> None:
    for function in (median, over_rounds, latency):
        with pytest.raises(ValueError, match="no values"):
            function([])
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_ratio_is_of_the_medians_and_its_spread_of_the_rounds() -> None:
    # Rounds: 10/20, 30/30, 12/40. Medians: 12 and 30.
    assert ratio([10, 30, 12], [20, 30, 40]) == Figure(0.4, 0.3, 1.0)


def test_a_ratio_needs_pairs_and_an_anchor() -> None:
    with pytest.raises(ValueError, match="rounds"):
        ratio([1, 2], [1])
    with pytest.raises(ValueError, match="anchor of 0"):
        ratio([1, 2], [1, 0])


def test_latency_is_in_milliseconds() -> None:
    times = latency([0.001 * n for n in range(1, 201)])
    assert (times.count, times.p50, times.p99, times.highest) == pytest.approx((200, 100, 198, 200))
