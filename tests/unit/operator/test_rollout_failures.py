"""What fails, what a person asks for, and what the operator's memory looks like when somebody has been at it."""

from typing import Any

import pytest

from herald_contracts.rollout import Rollout
from herald_operator.build.history import from_object
from herald_operator.planning.rollout import decide
from tests.unit.operator.rollouts import World, spec


def failed() -> World:
    """A answers; B was given up."""
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    world.later(600).settle()
    return world


def test_what_does_not_become_available_is_given_up_and_the_old_one_goes_on() -> None:
    """argo-rollouts: ProgressDeadlineAbort, GoodToBad."""
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    world.later(599).settle()
    assert world.outcome("B") == "InFlight"
    decision = world.later(1).settle()
    assert (decision.reason, decision.active, decision.candidate) == ("Failed", "A", "")
    assert "not available within 600 s: 0 of 2 are there" in world.revisions["B"].message
    assert world.switches == [("", "A")]
    assert set(world.crews) == {"A"}, "who failed leaves once the old one is well"


def test_what_failed_does_not_leave_while_the_old_one_is_not_well() -> None:
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    world.crews["A"] = False
    world.later(600).settle()
    assert set(world.crews) == {"A", "B"}


def test_what_failed_is_nobodys_way_back_and_leaves_at_once() -> None:
    world = World(spec=spec(deadline=10, delay=3_600)).goes("A", after=1)
    world.wanted = "B"
    world.settle()
    world.later(10).settle()
    assert (world.outcome("B"), set(world.crews)) == ("Failed", {"A"})


def test_what_failed_is_not_promoted_though_it_becomes_well_later() -> None:
    world = failed()
    world.crews["B"] = True
    world.later(1_000).settle()
    assert world.active == "A"


def test_a_new_spec_ends_a_failure() -> None:
    """argo-rollouts: AbortAndUpdate, BadToGood."""
    world = failed().goes("C")
    assert set(world.stored) == {"A", "C"}


def test_bad_after_bad() -> None:
    world = failed()
    world.wanted = "C"
    world.settle()
    world.later(600).settle()
    assert (world.active, world.outcome("C"), set(world.stored)) == ("A", "Failed", {"A", "C"})


def test_the_same_spec_again_after_another_is_tried_again() -> None:
    world = failed()
    world.wanted = "A"
    world.settle()
    world.later(5).wanted = "B"
    assert world.settle().reason == "Starting"


def test_abort_gives_up_at_once() -> None:
    """argo-rollouts: Abort, ScaleDownOnAbort."""
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    decision = world.ask(abort=True).settle()
    assert (decision.reason, world.active, world.outcome("B")) == ("Failed", "A", "Failed")
    assert "aborted by hand" in decision.message
    assert set(world.crews) == {"A"}


@pytest.mark.parametrize("proved", [0, 60])
def test_abort_ends_also_the_way_back_to_an_old_revision(proved: float) -> None:
    world = World().goes("A", after=proved).goes("B").later(60)
    world.wanted = "A"
    world.settle()
    world.ask(abort=True).settle()
    world.crews["A"] = True
    world.settle()
    assert (world.active, world.outcome("A")) == ("B", "Failed")


def test_abort_of_what_answers_does_nothing() -> None:
    world = World().goes("A")
    before = world.record
    world.ask(abort=True).settle()
    assert (world.record, world.outcome("A")) == (before, "Successful")


def test_the_very_first_revision_cannot_be_aborted_there_is_nothing_else() -> None:
    world = World()
    world.settle()
    world.ask(abort=True)
    assert "nothing to go back to" in world.step().refused
    world.crews["A"] = True
    world.settle()
    assert world.active == "A"


def test_retry_gives_it_its_whole_time_again() -> None:
    """argo-rollouts: RolloutAbortRetryPromote."""
    world = failed().later(1_000).ask(retry=True)
    decision = world.settle()
    assert (decision.reason, decision.again) == ("Starting", 600)
    assert world.revisions["B"].message == ""
    world.crews["B"] = True
    world.settle()
    assert world.active == "B"


def test_retry_asks_for_consent_again() -> None:
    world = World(spec=spec(auto=False)).goes("A")
    world.wanted = "B"
    world.settle()
    world.ask(promote=True).settle()
    world.later(600).settle()
    assert world.outcome("B") == "Failed"
    world.ask(retry=True).settle()
    world.crews["B"] = True
    assert world.settle().reason == "WaitingForPromotion"


def test_retry_after_a_rollback_asks_for_consent_again() -> None:
    world = World(spec=spec(auto=False)).goes("A")
    world.wanted = "B"
    world.settle()
    world.ask(promote=True).settle()
    world.crews["B"] = True
    world.settle()
    world.ask(rollback_to="A").settle()
    assert world.active == "A"
    world.ask(retry=True).settle()
    world.crews["B"] = True
    assert world.settle().reason == "WaitingForPromotion"


def test_retry_of_what_is_well_does_nothing() -> None:
    world = World().goes("A").ask(retry=True)
    world.settle()
    assert (world.active, world.outcome("A")) == ("A", "Successful")


def test_a_person_goes_back_and_the_spec_is_not_followed_until_it_changes() -> None:
    world = World().goes("A").goes("B").goes("C").ask(rollback_to="A")
    decision = world.settle()
    assert (decision.candidate, world.active) == ("A", "C"), "C answers until A is there"
    world.crews["A"] = True
    world.settle()
    assert world.active == "A"
    decision = world.later(60).settle()
    assert (decision.reason, world.outcome("C")) == ("Failed", "Failed")
    assert "rolled back to A by hand" in decision.message
    assert set(world.crews) == {"A"}
    world.goes("D")
    assert not any(r.target for r in world.revisions.values())


def test_going_back_needs_no_further_consent() -> None:
    world = World(spec=spec(auto=False)).goes("A")
    world.wanted = "B"
    world.settle()
    world.crews["B"] = True
    world.settle()
    world.ask(promote=True).settle()
    world.later(60).settle()
    world.ask(rollback_to="A").settle()
    world.crews["A"] = True
    world.settle()
    assert world.active == "A"


def test_git_catches_up_with_a_rollback() -> None:
    world = World().goes("A").goes("B", after=0).ask(rollback_to="A")
    world.settle()
    world.wanted = "A"
    decision = world.settle()
    assert (decision.reason, world.active) == ("Idle", "A")


def test_retry_ends_a_rollback() -> None:
    world = World().goes("A").goes("B", after=0).ask(rollback_to="A")
    world.settle()
    assert world.active == "A"
    world.later(1).ask(retry=True).settle()
    world.crews["B"] = True
    world.settle()
    assert world.active == "B"


def test_a_rollback_that_does_not_come_up_leaves_who_answers() -> None:
    world = World().goes("A").goes("B").ask(rollback_to="A")
    world.settle()
    world.later(600).settle()
    assert (world.active, world.revisions.get("A")) == ("B", None)
    assert world.outcome("B") == "Failed", "its person said so"


@pytest.mark.parametrize("to", ["X", "", "B"])
def test_there_must_be_something_to_go_back_to(to: str) -> None:
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    world.ask(rollback_to=to)
    refused = world.step().refused
    assert (f"no revision {to!r} to go back to (known: A)" in refused) == bool(to)
    world.settle()
    assert (world.active, world.outcome("B")) == ("A", "InFlight")


def test_going_back_to_what_the_spec_asks_for_is_a_retry_with_consent() -> None:
    world = World(spec=spec(auto=False)).goes("A")
    world.wanted = "B"
    world.settle()
    world.crews["B"] = True
    world.settle()
    world.ask(promote=True).settle()
    world.later(60).settle()
    world.wanted = "A"
    world.settle()
    world.ask(rollback_to="A").settle()
    world.crews["A"] = True
    world.settle()
    assert world.active == "A"


def annotated(world: World, name: str, **notes: str | None) -> World:
    kept: dict[str, Any] = world.stored[name]["metadata"]["annotations"]
    for key, value in notes.items():
        kept.pop(f"herald.dev/{key}", None)
        if value is not None:
            kept[f"herald.dev/{key}"] = value
    return world


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-40T00:00:00Z", "0", None])
def test_times_that_are_none_do_not_give_up_who_answers(text: str | None) -> None:
    world = World().goes("A")
    annotated(world, "A", started=text, promoted=text, outcome=text)
    world.settle()
    assert (world.active, world.revisions["A"].promoted) == ("A", world.now)
    world.later(30).settle()
    assert world.outcome("A") == "Successful"


def test_a_garbled_start_of_a_candidate_is_its_making() -> None:
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    world.stored["B"]["metadata"]["creationTimestamp"] = "2026-11-22T12:00:59Z"
    annotated(world, "B", started="soon")
    revision = from_object(world.stored["B"])
    assert revision is not None
    assert f"{revision.started:%H:%M:%S}" == "12:00:59"


def test_an_active_revision_that_cannot_be_read_keeps_its_workers() -> None:
    world = World().goes("A")
    world.stored["A"]["data"] = {"version": 2}
    world.wanted = "B"
    decision = world.settle()
    assert decision.revisions["A"].shape is None
    assert "A" in decision.running
    assert "none" in decide(world.ask(rollback_to="A").seen()).refused


def test_a_wanted_revision_that_cannot_be_read_is_made_anew() -> None:
    world = World().goes("A")
    before = world.revisions["A"]
    world.stored["A"]["data"] = {"version": 2}
    world.settle()
    assert world.revisions["A"] == before, "what became of it was readable"
    assert world.active == "A"


def test_what_was_given_up_stays_so_when_it_cannot_be_read() -> None:
    world = failed()
    world.stored["B"]["data"] = "x"
    world.settle()
    assert (world.active, world.outcome("B")) == ("A", "Failed")
    assert world.revisions["B"].shape is not None


def test_what_cannot_be_read_takes_no_room_from_what_can() -> None:
    world = World(spec=spec(keep=2)).goes("A").goes("B")
    world.stored["B"]["data"] = None
    world.goes("C")
    assert set(world.stored) == {"A", "C"}, "A is a way back, B is none"


def test_a_lost_record_is_not_made_anew_for_what_nobody_can_start_again() -> None:
    world = World().goes("A").goes("B")
    world.stored["B"]["data"] = None
    world.record = None
    world.wanted = "C"
    world.settle()
    assert world.active == "B", "its workers are there: they answer"
    world.record = None
    del world.crews["B"]
    world.settle()
    assert world.active == "A"


def test_who_answers_is_never_called_failed_for_what_was_before_it_answered() -> None:
    """The operator ended between the switch and the note of it, and a person aborted while NATS was away."""
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    world.crews["B"] = True
    world.step()
    assert world.record == Rollout(active="B", stable="A", generation=4)
    world.known = False
    world.ask(abort=True).settle()
    world.known = True
    world.settle()
    assert (world.active, world.outcome("B")) == ("B", "InFlight")
