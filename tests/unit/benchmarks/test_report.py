from dataclasses import replace

import pytest
from benchmarks.explanations import Explanation
from benchmarks.figures import Figure
from benchmarks.goals import Finding, Goal, Measured, Rule, Table
from benchmarks.machine import Machine
from benchmarks.report import Outcome, number, render, table

GOALS = (
    Goal("PA", "first", (Rule("PA.cpu", "CPU / theirs", "at most", 0.75, stretch=0.5),)),
    Goal("PB", "second", (Rule("PB.p99", "P99", "at most", 50, "ms"),)),
)
MACHINE = Machine("A processor", 2, 23.4, "Linux 6.1", "3.11.7", 0.2, 8_123, (("nats-py", "2.16.0"),))


def outcome(cpu: float = 0.6, p99: float = 20, **changes: object) -> Outcome:
    measured = Measured(
        (
            Finding("PA.cpu", Figure(cpu, cpu - 0.1, cpu + 0.1), "60 us", "100 us", "sync always"),
            Finding("PB.p99", Figure(p99, p99, p99), f"{p99} ms", ""),
        ),
        (Table("Figures of PA", ("", "us"), (("ours", "60"),)),),
        ("a note",),
    )
    whole = Outcome(MACHINE, "2026-11-22", "abc1234", 5, False, 11.6, (measured,), {}, {})
    return replace(whole, **changes)  # type: ignore[arg-type]


def line(text: str, start: str) -> str:
    return next(each for each in text.splitlines() if each.startswith(start))


def test_a_met_goal_shows_both_sides_the_range_and_the_bar() -> None:
    row = line(render(outcome(), GOALS), "| **PA**")
    assert row == (
        "| **PA** met | CPU / theirs | 60 us | 100 us | **0.60x (0.50-0.70)** | <= 0.75x | met | sync always |"
    )


def test_the_stretch_is_told_when_reached() -> None:
    assert "met, also <= 0.5x" in line(render(outcome(cpu=0.4), GOALS), "| **PA**")


def test_a_missed_goal_without_explanation_says_so_and_fails_the_run() -> None:
    bad = outcome(p99=51)
    assert "**PB** **missed**" in render(bad, GOALS)
    assert "**PB**: not explained yet" in render(bad, GOALS)
    assert not bad.good(GOALS)


def test_a_missed_goal_with_its_explanation_is_accepted() -> None:
    explained = outcome(p99=51, explanations={"PB": Explanation("Milvus.", "py-spy: 61 %.", "A cache.")})
    assert "**PB**: Milvus. Profile: py-spy: 61 %. Next: A cache." in render(explained, GOALS)
    assert explained.good(GOALS)


def test_an_explanation_of_a_met_goal_is_not_shown() -> None:
    assert "Milvus" not in render(outcome(explanations={"PB": Explanation("Milvus.", "p", "n")}), GOALS)


def test_a_measurement_that_failed_is_shown_with_its_reason_and_fails_the_run() -> None:
    broken = outcome(measured=(), failures={"PA": "Failed: no port", "PB": "Failed: no port"})
    row = line(render(broken, GOALS), "| **PA**")
    assert "**not measured**" in row
    assert "Failed: no port" in row
    assert not broken.good(GOALS)


def test_a_part_that_failed_fails_the_run_whatever_else_was_measured() -> None:
    assert outcome().good(GOALS)
    assert not outcome(failures={"PB": "Failed: no port"}).good(GOALS)


def test_machine_versions_figures_and_notes_are_there() -> None:
    text = render(outcome(), GOALS)
    for part in ("A processor, 2 cores, 23 GB", "nats-py 2.16.0", "8,123 fdatasync/s", "abc1234", "- a note"):
        assert part in text
    assert "### Figures of PA\n\n| | us |".replace("| |", "|  |") in text


def test_a_quick_run_says_that_it_means_nothing() -> None:
    assert "mean nothing" in render(outcome(quick=True), GOALS)
    assert "mean nothing" not in render(outcome(), GOALS)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0.00"), (0.004, "0.0040"), (0.5, "0.50"), (12.34, "12.3"), (12_345, "12,345")]
)
def test_number(value: float, expected: str) -> None:
    assert number(value) == expected


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert table(("a",), (("x|y",),)).splitlines()[-1] == "| x\\|y |"
