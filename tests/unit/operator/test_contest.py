"""Who fights with us over a child is named, and a deployment that only moves is not called a fight."""

from typing import Any

import pytest

from herald_operator.contest import MOST, WINDOW, Contest, Note, Write
from herald_operator.planning import report
from tests.unit.operator.imagined import Imagined

KEY = ("team", "support")
GATEWAY: Write = ("Deployment", "support-gateway", "digest")
CREW: Write = ("ReplicaSet", "support-v1", "2 replicas")


def notes(*passes: tuple[float, list[Write]]) -> list[Note]:
    """Of passes at these times, each with what it wrote."""
    contest = Contest()
    return [contest.note(KEY, written, at, moving=bool(written)) for at, written in passes]


@pytest.mark.parametrize(
    ("passes", "named"),
    [
        ([(0, [GATEWAY]), (1, [GATEWAY])], ()),
        ([(0, [GATEWAY]), (1, [GATEWAY]), (2, [GATEWAY])], (GATEWAY[:2],)),
        ([(0, [GATEWAY]), (1, []), (2, [GATEWAY]), (3, []), (4, [GATEWAY]), (5, [])], (GATEWAY[:2],)),
        ([(n, [CREW, GATEWAY]) for n in range(MOST)], (GATEWAY[:2], CREW[:2])),
        ([(0, [GATEWAY]), (40, [GATEWAY]), (80, [GATEWAY])], ()),
        ([(n, [GATEWAY]) for n in range(MOST)] + [(WINDOW, [])], ()),
        ([(0, [GATEWAY]), (1, [CREW]), (2, [GATEWAY])], ()),
        ([(n, [(*GATEWAY[:2], f"digest {n}")]) for n in range(5)], ()),
    ],
    ids=["twice", "three times", "with rest between", "two", "now and then", "over", "work", "another thing each time"],
)
def test_what_is_written_three_times_in_a_minute_does_not_stay(passes: list[Any], named: Any) -> None:
    assert notes(*passes)[-1].children == named


def test_a_fight_is_looked_at_again_when_it_may_be_over() -> None:
    assert [n.again for n in notes((0, [GATEWAY]), (1, [GATEWAY]), (2, [GATEWAY]), (30, []))] == [None, None, 58, 30]


def test_who_writes_for_ever_speaks_all_the_same() -> None:
    """Whatever it is that is written: the status must not stay that of yesterday."""
    kind, name, _ = GATEWAY
    early = [note.early for note in notes(*((n, [(kind, name, f"digest {n}")]) for n in range(5)))]
    assert early == [True, True, False, False, False]


def test_the_first_pass_at_rest_speaks() -> None:
    assert [note.early for note in notes((0, [GATEWAY]), (0.1, []), (0.2, [CREW]))] == [True, False, True]


def test_deployments_do_not_count_for_each_other() -> None:
    contest = Contest()
    for number in range(MOST):
        assert not contest.note(("team", f"a{number}"), [GATEWAY], number, moving=True).children


def test_the_status_names_the_child_and_stays_what_it_was() -> None:
    world = Imagined()
    world.rest()
    before = world.resource["status"]
    said = report.with_contest(world.seen(), before, [CREW[:2], GATEWAY[:2]])
    ready = next(c for c in said["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True", "messages are accepted and answered"
    assert ready["message"] == (
        "messages are accepted and answered; somebody else changes Deployment support-gateway, ReplicaSet support-v1 "
        "again and again: `kubectl -n team get deployment support-gateway -o yaml --show-managed-fields` shows who"
    )
    assert [c for c in said["conditions"] if c["type"] != "Ready"] == [
        c for c in before["conditions"] if c["type"] != "Ready"
    ]
