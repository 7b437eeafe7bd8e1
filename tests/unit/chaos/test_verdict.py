"""The judge must be able to convict: each crime is found, and innocence is too."""

import pytest

from tests.chaos.verdict import Answered, Sent, judge

SENT = [Sent("hooks", f"e{n}", "c", n) for n in range(3)]
EXPECTED = {f"e{n}": f"text {n}" for n in range(3)}


def answers(*numbers: int) -> list[Answered]:
    return [Answered("hooks", f"e{n}", f"echo: text {n}") for n in numbers]


def test_innocent() -> None:
    verdict = judge(SENT, answers(0, 1, 2), expected=EXPECTED)
    assert verdict.clean
    assert (verdict.accepted, verdict.answered) == (3, 3)


@pytest.mark.parametrize(
    ("inbox", "crime", "found"),
    [
        (answers(0, 2), "lost", ("e1",)),
        (answers(0, 1, 1, 2), "doubled", ("e1",)),
        (answers(0, 2, 1), "out_of_order", ("hooks/c",)),
        ([*answers(0, 1, 2), Answered("hooks", "e9", "")], "unasked", ("e9",)),
        ([*answers(0, 1), Answered("hooks", "e2", "something else")], "wrong", ("e2",)),
    ],
)
def test_each_crime_is_found(inbox: list[Answered], crime: str, found: tuple[str, ...]) -> None:
    verdict = judge(SENT, inbox, expected=EXPECTED)
    assert not verdict.clean
    assert getattr(verdict, crime) == found


def test_an_unknown_outcome_may_be_answered_once_but_not_twice() -> None:
    inbox = [*answers(0, 1, 2), Answered("hooks", "maybe", "x")]
    assert judge(SENT, inbox, expected=EXPECTED, tried=["maybe"]).clean
    assert judge(SENT, [*inbox, inbox[-1]], expected=EXPECTED, tried=["maybe"]).doubled == ("maybe",)
