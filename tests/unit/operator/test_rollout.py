"""Which revision answers: one story after another. The random ones are in test_rollout_random."""

from dataclasses import replace

import pytest

from herald_contracts.rollout import Rollout
from herald_operator.planning.rollout import decide
from tests.unit.operator.rollouts import START, World, spec


def test_the_first_revision_starts_waits_for_its_workers_and_answers() -> None:
    world = World()
    begun = world.step()
    assert (begun.candidate, begun.active, begun.running, begun.reason) == ("A", "", ("A",), "Starting")
    assert world.settle().record is None, "nobody switches to workers that are not there"
    world.crews["A"] = True
    assert world.step().reason == "Switching"
    assert world.record == Rollout(active="A", generation=1)
    decision = world.settle()
    assert (decision.reason, decision.again) == ("Idle", 30)
    assert world.outcome("A") == "InFlight", "to be promoted is not to have proved itself"
    world.later(30).settle()
    assert world.outcome("A") == "Successful"
    assert world.record == Rollout(active="A", stable="A", generation=2)


def test_models_that_are_not_loaded_hold_back_a_switch_as_workers_do() -> None:
    world = World(unready={"A"})
    world.settle()
    world.crews["A"] = True
    assert world.settle().reason == "Starting"
    world.unready.clear()
    world.settle()
    assert world.active == "A"


def test_the_first_revision_is_never_given_up() -> None:
    world = World()
    world.settle()
    decision = world.later(86_400).settle()
    assert (decision.reason, decision.candidate, decision.again) == ("Stuck", "A", None)
    assert world.outcome("A") == "InFlight"
    world.crews["A"] = True
    world.settle()
    assert world.active == "A"


def test_the_first_revision_needs_nobodys_consent() -> None:
    world = World(spec=spec(auto=False))
    world.goes("A")


def test_a_change_of_the_first_spec_does_not_wait_for_what_never_started() -> None:
    """Else a wrong model's server would keep the GPU that the right one waits for."""
    world = World()
    world.settle()
    world.wanted = "B"
    world.settle()
    assert set(world.crews) == {"B"}
    assert set(world.stored) == {"B"}


def test_what_may_answer_stays_although_nobody_knows_who_does() -> None:
    world = World(known=False)
    world.settle()
    world.crews["A"] = True
    world.known, world.wanted = True, "B"
    world.settle()
    assert set(world.crews) == {"A", "B"}


def test_a_new_spec_takes_over_and_the_old_revision_stays_for_a_way_back() -> None:
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    assert (world.active, world.record) == ("A", Rollout(active="A", candidate="B", stable="A", generation=3))
    world.crews["B"] = True
    decision = world.settle()
    assert world.active == "B"
    assert set(world.crews) == {"A", "B"}
    assert decision.again == 30
    world.later(30).settle()
    assert set(world.crews) == {"B"}
    assert (world.outcome("A"), world.outcome("B")) == ("Successful", "Successful")
    assert world.switches == [("", "A"), ("A", "B")]


def test_who_answers_badly_keeps_the_old_revision_there() -> None:
    """argo-rollouts: NotReadyToScaleDownOldReplica."""
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    world.crews["B"] = True
    world.settle()
    world.crews["B"] = False
    world.later(1_000).settle()
    assert set(world.crews) == {"A", "B"}
    assert world.outcome("B") == "InFlight", "it has not proved itself"
    world.crews["B"] = True
    world.settle()
    assert set(world.crews) == {"B"}
    assert world.outcome("B") == "Successful"


def test_promotion_waits_for_a_person() -> None:
    """argo-rollouts: PauseWhenAutoPromotionEnabledIsFalse, ContinueAfterUnpaused."""
    world = World(spec=spec(auto=False)).goes("A")
    world.wanted = "B"
    world.settle()
    world.crews["B"] = True
    decision = world.settle()
    assert (decision.reason, world.active) == ("WaitingForPromotion", "A")
    assert "kubectl herald rollout promote" in decision.message
    world.later(86_400).settle()
    assert world.active == "A", "however long it takes"
    world.ask(promote=True).settle()
    assert world.active == "B"


def test_promoting_what_is_not_there_yet_switches_once_it_is() -> None:
    """argo-rollouts: NoPauseIfNewRSIsNotHealthy; promoteFull still waits for availability."""
    world = World(spec=spec(auto=False)).goes("A")
    world.wanted = "B"
    world.settle()
    world.ask(promote=True).settle()
    assert world.active == "A"
    world.crews["B"] = True
    world.settle()
    assert world.active == "B"


def test_an_approval_counts_once() -> None:
    world = World(spec=spec(auto=False)).goes("A")
    world.wanted = "B"
    world.settle()
    world.crews["B"] = True
    world.settle()
    world.ask(promote=True).settle()
    world.later(60).settle()
    world.wanted = "A"
    world.settle()
    world.crews["A"] = True
    world.settle()
    world.ask(promote=True).settle()
    assert world.active == "A"
    world.later(1).wanted = "B"
    assert world.settle().reason == "WaitingForPromotion", "that it was approved once before is no approval"
    assert world.active == "A"


def test_an_approval_of_what_was_put_aside_is_forgotten() -> None:
    world = World(spec=spec(auto=False)).goes("A")
    world.wanted = "B"
    world.settle()
    world.crews["A"] = False  # so that nobody leaves
    world.ask(promote=True).settle()
    world.wanted = "C"
    world.settle()
    world.wanted = "B"
    world.settle()
    world.crews["B"] = True
    assert world.settle().reason == "WaitingForPromotion"


def test_waiting_for_a_person_does_not_use_up_the_time_to_become_available() -> None:
    """argo-rollouts: ProgressDeadlineExceededWithPause. A node is drained while the boss is on holiday."""
    world = World(spec=spec(auto=False)).goes("A")
    world.wanted = "B"
    world.settle()
    world.crews["B"] = True
    world.later(5).settle()
    world.later(86_400).settle()
    world.crews["B"] = False
    assert world.settle().reason == "Starting"
    assert world.outcome("B") == "InFlight"
    world.later(601).settle()
    assert world.outcome("B") == "Failed", "but from then on the time counts again"


@pytest.mark.parametrize("wait", [0, 1, 29, 30, 31, 3_600])
def test_going_back_is_a_switch_like_any_other(wait: float) -> None:
    """argo-rollouts: FastRollback, rollback_window_test."""
    world = World().goes("A").goes("B", after=0)
    world.later(wait).settle()
    world.wanted = "A"
    decision = world.settle()
    if wait < 30:
        assert world.active == "A", "it was still there"
        return
    assert (decision.reason, world.active) == ("Starting", "B")
    world.crews["A"] = True
    world.settle()
    assert world.active == "A"


def test_quick_changes_back_and_forth_end_with_the_last() -> None:
    world = World().goes("A")
    for name in "BABAB":
        world.wanted = name
        world.settle()
    world.crews["B"] = True
    world.settle()
    assert world.active == "B"
    for name in "ABABA":
        world.wanted = name
        world.settle()
        assert world.active == name, "both are there"
    world.later(60).settle()
    assert set(world.crews) == {"A"}


def test_going_back_to_a_revision_of_long_ago_gives_it_its_whole_time() -> None:
    world = World().goes("A").goes("B").later(86_400)
    world.wanted = "A"
    decision = world.settle()
    assert (decision.reason, decision.again) == ("Starting", 600)
    world.later(599).settle()
    assert world.outcome("A") != "Failed"
    world.later(1).settle()
    assert world.outcome("A") == "Failed"
    assert world.active == "B"


def test_a_candidate_that_was_put_aside_gets_its_whole_time_when_it_is_wanted_again() -> None:
    world = World(spec=spec(deadline=10, delay=3_600)).goes("A", after=1)
    world.wanted = "B"
    world.settle()
    world.later(5).wanted = "A"
    world.settle()
    assert "B" in world.crews, "within the delay nobody leaves"
    world.later(1_000).wanted = "B"
    assert world.settle().reason == "Starting"
    assert world.outcome("B") == "InFlight"


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_obeying_a_rollback_more_than_once_does_not_spoil_the_next_time(passes: int) -> None:
    """The operator ends again and again just before it takes the annotation away."""
    world = World().goes("A").goes("B", after=0).ask(rollback_to="A")
    for _ in range(passes):
        effects = len(world.effects(decide(world.seen())))
        world.step(effects - 1)
        world.later(7)
    world.settle()
    assert world.active == "A"
    world.later(60).settle()
    world.goes("C").later(86_400)
    world.wanted = "A"
    assert world.settle().reason == "Starting"


def test_same_second_switches_leave_the_last_one_in_memory() -> None:
    """The record is lost right after three switches in one second: whoever answered last goes on."""
    world = World().goes("A").goes("B", after=0)
    world.wanted = "A"
    world.settle()
    assert world.active == "A"
    world.record = None
    assert world.step().active == "A"


def test_a_lost_record_is_written_again_and_switches_nothing() -> None:
    world = World().goes("A").goes("B")
    world.record = None
    decision = world.step()
    assert decision.record == Rollout(active="B", generation=1)
    world.settle()
    assert world.record == Rollout(active="B", stable="B", generation=2)


def test_a_record_of_a_revision_that_nobody_remembers_is_respected() -> None:
    world = World(record=Rollout(active="X", stable="X", generation=9), crews={"X": True})
    decision = world.settle()
    assert (decision.active, decision.candidate) == ("X", "A")
    assert "X" in decision.running
    world.crews["A"] = True
    world.settle()
    assert world.active == "A"


def test_while_nats_does_not_answer_nothing_is_switched_given_up_or_taken_away() -> None:
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    world.known = False
    world.crews["B"] = True
    for seconds in (1, 1_000):
        decision = world.later(seconds).settle()
        assert (decision.record, decision.active, set(decision.running)) == (None, "A", {"A", "B"})
    world.wanted = "C"
    assert set(world.settle().running) == {"A", "B", "C"}
    world.known, world.wanted = True, "B"
    world.settle()
    assert world.active == "B"


def test_time_in_which_nats_did_not_answer_is_not_held_against_a_candidate() -> None:
    """Workers are not ready without NATS, and need a moment when it is back. The same for `suspend`."""
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    world.known = False
    world.later(86_400).settle()
    world.known = True
    assert world.settle().reason == "Starting"
    world.later(601).settle()
    assert world.outcome("B") == "Failed"


def test_a_decision_at_rest_changes_nothing_until_it_said_it_would() -> None:
    world = World().goes("A")
    world.wanted = "B"
    world.settle()
    world.crews["B"] = True
    decision = world.settle()
    assert decision.again is not None
    for share in (0.0, 0.3, 0.9):
        at = replace(world.seen(), now=world.now.replace(microsecond=0))
        moment = at.now.timestamp() + decision.again * share
        again = decide(replace(at, now=START.fromtimestamp(moment, tz=START.tzinfo)))
        assert (again.record, again.message, again.running) == (None, decision.message, decision.running)


def test_history_keeps_the_last_successful_revisions_and_what_is_in_flight() -> None:
    world = World(spec=spec(keep=2))
    for name in "ABCDE":
        world.goes(name)
    assert set(world.stored) == {"D", "E"}
    world.wanted = "F"
    world.settle()
    assert set(world.stored) == {"D", "E", "F"}
    world.later(601).settle()
    assert world.outcome("F") == "Failed"
    world.wanted = "E"
    world.settle()
    assert set(world.stored) == {"D", "E"}, "what failed goes first"


def test_numbers_count_up_and_a_revision_keeps_its_own() -> None:
    world = World().goes("A").goes("B").goes("C").goes("A")
    assert {n: r.number for n, r in world.revisions.items()} == {"A": 1, "B": 2, "C": 3}
