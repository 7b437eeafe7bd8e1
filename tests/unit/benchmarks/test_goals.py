import pytest
from benchmarks.figures import Figure
from benchmarks.goals import GOALS, Finding, Goal, Rule, Verdict, goal, verdict

GOAL = Goal(
    "PX",
    "a goal",
    (Rule("PX.cpu", "CPU", "at most", 0.75, stretch=0.5), Rule("PX.rate", "rate", "at least", 1.4)),
)


def found(rule: str, value: float) -> Finding:
    return Finding(rule, Figure(value, value, value), "ours", "theirs")


@pytest.mark.parametrize(
    ("cpu", "rate", "expected"),
    [
        (0.75, 1.4, "met"),
        (0.1, 9, "met"),
        (0.751, 1.4, "missed"),
        (0.75, 1.39, "missed"),
        (0.75, None, "not measured"),
        (None, None, "not measured"),
        (0.9, None, "missed"),
    ],
)
def test_verdict(cpu: float | None, rate: float | None, expected: Verdict) -> None:
    findings = [found(k, v) for k, v in (("PX.cpu", cpu), ("PX.rate", rate)) if v is not None]
    assert verdict(GOAL, findings) == expected


def test_every_rule_belongs_to_its_goal_and_is_there_once() -> None:
    keys = [rule.key for each in GOALS for rule in each.rules]
    assert len(keys) == len(set(keys))
    assert all(rule.key.startswith(f"{each.id}.") for each in GOALS for rule in each.rules)


def test_a_stretch_is_harder_than_its_limit() -> None:
    for each in GOALS:
        for rule in each.rules:
            if rule.stretch is not None:
                assert rule.allows(rule.stretch)
                assert not rule.allows(rule.limit, rule.stretch)


def test_the_goals_of_the_issue_are_all_there() -> None:
    assert {each.id for each in GOALS} == {"P1", "P2", "P3", "P4", "P5", "P6", "P8", "P9", "P12", "P13"}
    with pytest.raises(KeyError):
        goal("P99")
