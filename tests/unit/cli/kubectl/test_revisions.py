"""What may be asked of a rollout, and how far it is said to be."""

import pytest

from herald_cli.kubectl import revisions
from herald_cli.kubectl.deployment import Deployment
from herald_cli.kubectl.revisions import NothingToDo
from tests.unit.cli.kubectl.resources import ACTIVE, IDLE, OLDER, OLDEST, condition, deployment, entry

CANDIDATE = "v1-dddddddddddd"
ACCEPTED = IDLE[0]
STARTING = deployment(
    ACCEPTED,
    condition("Progressing", "True", "Starting", f"{CANDIDATE} is being started"),
    condition("Promoted", "False", "Starting"),
    candidateRevision=CANDIDATE,
)
WAITING = deployment(
    ACCEPTED,
    condition("Progressing", "False", "WaitingForPromotion", f"{CANDIDATE} is ready"),
    condition("Promoted", "False", "WaitingForPromotion"),
    candidateRevision=CANDIDATE,
)
FAILED = deployment(
    ACCEPTED,
    condition("Progressing", "False", "Failed"),
    condition("Promoted", "False", "RevisionFailed", f"{CANDIDATE} was given up: no image"),
)
GONE_BACK = deployment(
    ACCEPTED,
    condition("Progressing", "False", "Failed"),
    condition("Promoted", "False", "RevisionFailed", f"{CANDIDATE} was given up: rolled back to {ACTIVE} by hand"),
)
INVALID = deployment(condition("Accepted", "False", "ReferenceMissing", "there is no Secret 'x'"))
UNSEEN = deployment(generation=3)


@pytest.mark.parametrize(
    ("found", "state", "text"),
    [
        (deployment(), "done", f"{ACTIVE} answers"),
        (STARTING, "under way", "is being started"),
        (WAITING, "waiting", "is ready"),
        (FAILED, "failed", f"no image; {ACTIVE} goes on answering"),
        (GONE_BACK, "done", f"{ACTIVE} answers, gone back to by hand"),
        (INVALID, "failed", "there is no Secret"),
        (UNSEEN, "under way", "has not looked"),
        (deployment(ACCEPTED), "under way", "has not said anything"),
        (deployment(*STARTING.listed("conditions"), spec={"paused": True}), "waiting", "spec.paused"),  # type: ignore[arg-type]
    ],
)
def test_progress(found: Deployment, state: str, text: str) -> None:
    seen = revisions.progress(found)
    assert seen.state == state
    assert text in seen.text


def test_the_previous_revision_is_the_last_good_one_that_answered_before() -> None:
    assert revisions.previous(deployment()) == OLDER


@pytest.mark.parametrize("active", [OLDER, OLDEST])
def test_the_previous_revision_goes_by_when_it_answered_and_not_by_its_number(active: str) -> None:
    """After going back the active revision is an old one: undo means the one that answered before it did."""
    assert revisions.previous(deployment(activeRevision=active)) == ACTIVE


@pytest.mark.parametrize(
    "history",
    [
        [],
        [entry(ACTIVE, 1, "Successful", "2026-01-01T00:00:00Z")],
        [entry(OLDER, 2, "Failed", None), entry(ACTIVE, 1, "Successful", "2026-01-01T00:00:00Z")],
        [entry(OLDER, 2, "Superseded", "2026-01-01T00:00:00Z"), entry(ACTIVE, 1, "Successful", "2026-01-02T00:00:00Z")],
    ],
)
def test_without_an_earlier_good_revision_undo_says_what_there_is(history: list[object]) -> None:
    with pytest.raises(NothingToDo, match="no earlier successful revision"):
        revisions.previous(deployment(history=history))


def test_going_back_to_a_chosen_revision() -> None:
    assert revisions.chosen(deployment(), OLDEST) == OLDEST
    with pytest.raises(NothingToDo, match=r"is not kept\n  there is: .*bbbb"):
        revisions.chosen(deployment(), "v1-nothing")
    with pytest.raises(NothingToDo, match="answers now"):
        revisions.chosen(deployment(), ACTIVE)
    never = deployment(history=[entry(CANDIDATE, 4, "Failed", None)])
    with pytest.raises(NothingToDo, match="has never answered"):
        revisions.chosen(never, CANDIDATE)


@pytest.mark.parametrize(
    ("found", "command", "text"),
    [
        (deployment(), "promote", "no candidate to promote: the newest one answers already"),
        (FAILED, "abort", "rollout retry"),
        (deployment(), "retry", "no revision was given up"),
        (deployment(spec={"paused": True}), "restart", '"paused":false'),
    ],
)
def test_what_could_change_nothing_is_refused(found: Deployment, command: str, text: str) -> None:
    with pytest.raises(NothingToDo, match=text):
        revisions.refuse(found, command)


@pytest.mark.parametrize(
    ("found", "command"),
    [(WAITING, "promote"), (STARTING, "abort"), (FAILED, "retry"), (UNSEEN, "promote"), (deployment(), "restart")],
)
def test_what_may_be_asked(found: Deployment, command: str) -> None:
    revisions.refuse(found, command)
