"""Which revision answers, which is being tried, which may go: the blue-green decision, as one pure function.

The record in NATS says who answers; ControllerRevisions say what became of each. A switch is one compare-and-set of
the record, and everything else here may be computed again from what is seen, so a crash between any two writes only
repeats a decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from herald_contracts.resources.v1alpha1.rollout import Rollout as RolloutSpec
from herald_contracts.rollout import Rollout
from herald_operator.build.history import Outcome, Revision
from herald_operator.build.shape import Shape


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers of one revision as they are. `available`: all that are wanted are there and have stayed."""

    available: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Commands:
    """What a person asked for by annotation, each consumed once."""

    promote: bool = False
    abort: bool = False
    retry: bool = False
    rollback_to: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the decision looks at.

    `record` is what NATS says; `known` is False while NATS cannot be asked, and then nothing is switched or given
    up. `crews` has an entry for each revision whose ReplicaSet exists. `ready` are revisions whose models and
    database are as they need them; `waits` says of others what they wait for. `paused`: nothing is carried out.
    """

    wanted: str
    shape: Shape
    spec: RolloutSpec
    now: datetime
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    record: Rollout | None = None
    known: bool = True
    paused: bool = False
    crews: Mapping[str, Crew] = field(default_factory=dict)
    ready: frozenset[str] = frozenset()
    waits: Mapping[str, str] = field(default_factory=dict)
    commands: Commands = Commands()


@dataclass(frozen=True, slots=True)
class Decision:
    """`running` revisions have workers. `record` is to be written where it is not None. `again` is in seconds."""

    revisions: Mapping[str, Revision]
    running: tuple[str, ...]
    active: str
    candidate: str
    record: Rollout | None
    reason: str
    message: str
    again: float | None = None
    refused: str = ""


def decide(seen: Seen) -> Decision:
    revisions, refused = _obey(seen, _with_wanted(seen))
    active = _active(seen, revisions)
    revisions = _settle(seen, revisions, active)
    target = _target(seen, revisions, active)
    candidate = target if target != active else ""
    record, reason, message, again = None, "Idle", "the active revision is what the spec asks for", None
    if candidate:
        tried = revisions[candidate]
        crew = seen.crews.get(candidate)
        available = crew is not None and crew.available and candidate in seen.ready
        waits = available and not (tried.approved or seen.spec.auto_promote or not active)
        # Nobody becomes available without NATS or in a pause, and who waits for a person is not late.
        counting = seen.known and not waits and not seen.paused
        if counting and not tried.counting:
            tried = replace(tried, started=seen.now)
        tried = revisions[candidate] = replace(tried, counting=counting)
        late = counting and seen.now >= tried.started + timedelta(seconds=seen.spec.progress_deadline_seconds)
        if waits:
            reason = "WaitingForPromotion"
            message = f"{candidate} is ready; promote it with `kubectl herald rollout promote`"
        elif available and seen.known:
            record = _record(seen, active=candidate, candidate="")
            reason, message = "Switching", f"{candidate} takes over"
        elif late and active:
            why = _why(seen, candidate) or "its workers did not become available"
            failed = f"not available within {seen.spec.progress_deadline_seconds} s: {why}"
            given_up = replace(tried, outcome="Failed", message=failed[:1_000], target=False)
            revisions[candidate] = replace(given_up, counting=False, approved=False)
            if candidate != seen.wanted:
                said = f"going back to {candidate} by hand: {failed}"[:1_000]
                revisions[seen.wanted] = replace(revisions[seen.wanted], message=said)
            candidate = ""
        else:
            reason, message = ("Stuck", "still not available") if late else ("Starting", "is being started")
            why = _why(seen, candidate)
            message = f"{candidate} {message}" + (f": {why}" if why else "")
            if counting and not late:
                again = (
                    tried.started + timedelta(seconds=seen.spec.progress_deadline_seconds) - seen.now
                ).total_seconds()
    wanted = revisions[seen.wanted]
    if not candidate and wanted.outcome == "Failed":
        reason, message = "Failed", f"{seen.wanted} was given up: {wanted.message}"
    if record is None and seen.known and seen.record is not None:
        record = _tidied(seen, revisions, active, candidate)
    elif record is None and seen.known and active:
        record = _record(seen, active=active, candidate=candidate)
    running, wait = _running(seen, revisions, active, candidate)
    kept = _kept(seen, revisions, active, candidate, running)
    return Decision(kept, running, active, candidate, record, reason, message, _sooner(again, wait), refused)


def _why(seen: Seen, name: str) -> str:
    """What keeps a revision from being available."""
    crew = seen.crews.get(name)
    return seen.waits.get(name) or (crew.message if crew is not None and not crew.available else "")


def _with_wanted(seen: Seen) -> dict[str, Revision]:
    revisions = dict(seen.revisions)
    known = revisions.get(seen.wanted)
    if known is None:
        number = 1 + max((r.number for r in revisions.values()), default=0)
        revisions[seen.wanted] = Revision(seen.wanted, number, seen.shape, seen.now)
    elif known.shape is None:
        # What became of it can be read, and how it is made stands in the spec.
        revisions[seen.wanted] = replace(known, shape=seen.shape)
    return revisions


def _obey(seen: Seen, revisions: dict[str, Revision]) -> tuple[dict[str, Revision], str]:
    """What a person asked for, written into the revisions; the second value says what cannot be done."""
    commands, current = seen.commands, revisions[seen.wanted]
    if current.outcome != "Failed":
        # A new spec ends whatever somebody went back to.
        revisions = {n: replace(r, target=False) if r.target else r for n, r in revisions.items()}
    if commands.retry and current.outcome == "Failed":
        revisions = {n: replace(r, target=False) if r.target else r for n, r in revisions.items()}
        revisions[seen.wanted] = replace(current, outcome="InFlight", message="", counting=False)
    if commands.promote:
        revisions[seen.wanted] = replace(revisions[seen.wanted], approved=True)
    active, refused = _active(seen, revisions), ""
    if commands.abort and not active:
        refused = f"{seen.wanted} cannot be aborted: there is nothing to go back to"
    elif commands.abort and current.outcome == "Failed" and not commands.retry:
        revisions = {n: replace(r, target=False) if r.target and n != active else r for n, r in revisions.items()}
    elif commands.abort and seen.wanted != active:
        revisions[seen.wanted] = replace(revisions[seen.wanted], outcome="Failed", message="aborted by hand")
    to = commands.rollback_to
    if not to:
        return revisions, refused
    if to not in revisions or revisions[to].shape is None or revisions[to].promoted is None:
        known = ", ".join(n for n, r in revisions.items() if r.promoted is not None and r.shape is not None) or "none"
        return revisions, f"there is no revision {to!r} to go back to (known: {known})"
    if to != seen.wanted:
        back = replace(revisions[seen.wanted], outcome="Failed", message=f"rolled back to {to} by hand")
        revisions[seen.wanted] = back
    revisions = {n: replace(r, target=n == to and to != seen.wanted) for n, r in revisions.items()}
    revisions[to] = replace(revisions[to], approved=True, counting=False)
    if revisions[to].outcome != "Successful":
        revisions[to] = replace(revisions[to], outcome="InFlight", message="")
    return revisions, refused


def _active(seen: Seen, revisions: Mapping[str, Revision]) -> str:
    """Who answers: the record, and where there is none (never written, or lost) whoever was promoted last."""
    if seen.record is not None:
        return seen.record.active
    # One that nobody can read and that runs no more could never answer again.
    able = [r for r in revisions.values() if r.shape is not None or r.name in seen.crews]
    promoted = [r for r in able if r.promoted is not None]
    return max(promoted, key=lambda r: (r.promoted or seen.now, r.number)).name if promoted else ""


def _settle(seen: Seen, revisions: dict[str, Revision], active: str) -> dict[str, Revision]:
    """What has become of those that answered."""
    settled = {name: _put_aside(seen, r) if name != active else r for name, r in revisions.items()}
    current = settled.get(active)
    if current is None:
        return settled
    others = [r for r in settled.values() if r.name != active and r.promoted is not None]
    last = max((r.promoted for r in others if r.promoted is not None), default=None)
    if current.promoted is None or (last is not None and last > current.promoted):
        # It has just taken over, for the first time or again.
        outcome: Outcome = "Successful" if current.outcome == "Successful" else "InFlight"
        # Later than all others, also within one second: a lost record is made anew from these times.
        promoted = max(seen.now, last + timedelta(seconds=1)) if last is not None else seen.now
        current = replace(current, promoted=promoted, outcome=outcome)
    delay = timedelta(seconds=seen.spec.scale_down_delay_seconds)
    crew = seen.crews.get(active)
    proved = current.promoted is not None and seen.now >= current.promoted + delay
    if current.outcome == "InFlight" and proved and crew is not None and crew.available:
        current = replace(current, outcome="Successful", message="")
    # Consent and time are those of one trial, and its own is over.
    settled[active] = replace(current, approved=False, counting=False)
    return settled


def _put_aside(seen: Seen, revision: Revision) -> Revision:
    """What is not tried any more is tried as if for the first time when it is wanted again."""
    if revision.name == seen.wanted or revision.target:
        return replace(revision, outcome="InFlight") if revision.outcome == "Superseded" else revision
    outcome: Outcome = "Successful" if revision.outcome == "Successful" else "Superseded"
    return replace(revision, outcome=outcome, approved=False, counting=False)


def _target(seen: Seen, revisions: Mapping[str, Revision], active: str) -> str:
    """Which revision should answer."""
    if revisions[seen.wanted].outcome != "Failed":
        return seen.wanted
    chosen = next((r.name for r in revisions.values() if r.target and r.shape is not None), "")
    return chosen or active


def _record(seen: Seen, *, active: str, candidate: str) -> Rollout:
    before = seen.record
    stable = before.stable if before is not None else ""
    return Rollout(
        active=active,
        candidate=candidate,
        stable=stable,
        generation=before.generation + 1 if before is not None else 1,
    )


def _tidied(seen: Seen, revisions: Mapping[str, Revision], active: str, candidate: str) -> Rollout | None:
    """The record with its less urgent parts as they are now, or None when it says so already."""
    before = seen.record
    assert before is not None  # noqa: S101 - the caller looked
    proved = active in revisions and revisions[active].outcome == "Successful"
    stable = active if proved else before.stable
    if (before.candidate, before.stable) == (candidate, stable):
        return None
    return Rollout(active=before.active, candidate=candidate, stable=stable, generation=before.generation + 1)


def _running(
    seen: Seen, revisions: Mapping[str, Revision], active: str, candidate: str
) -> tuple[tuple[str, ...], float | None]:
    """Who has workers, and when to look again because somebody's time runs out."""
    running = [name for name in (active, candidate) if name]
    crew = seen.crews.get(active)
    wait = None
    current = revisions.get(active)
    for name in sorted(seen.crews):
        if name in running:
            continue
        if not active and seen.known and not (seen.crews[name].available and name in seen.ready):
            continue  # it answers nobody, and may hold what the candidate needs
        took_over = current.promoted if current is not None else None
        until = took_over + timedelta(seconds=seen.spec.scale_down_delay_seconds) if took_over is not None else None
        failed = name in revisions and revisions[name].outcome == "Failed"
        if not seen.known or crew is None or not crew.available:
            # Nobody leaves while it is unsure who answers, or while who answers is not well.
            running.append(name)
        elif not failed and until is not None and seen.now < until:
            running.append(name)
            wait = (until - seen.now).total_seconds()
    if current is not None and current.outcome == "InFlight" and current.promoted is not None:
        proof = current.promoted + timedelta(seconds=seen.spec.scale_down_delay_seconds)
        if seen.now < proof:
            wait = _sooner(wait, (proof - seen.now).total_seconds())
    return tuple(running), wait


def _kept(
    seen: Seen, revisions: Mapping[str, Revision], active: str, candidate: str, running: tuple[str, ...]
) -> dict[str, Revision]:
    """The revisions that stay: those in use, what the spec asks for, and the last successful ones.

    One that cannot be read is nobody's way back, but perhaps that of a newer Herald: it takes the room that is left.
    """
    successful = sorted(
        (r for r in revisions.values() if r.outcome == "Successful" and r.name != active),
        key=lambda r: (r.shape is not None, r.promoted or r.started, r.number),
        reverse=True,
    )
    room = seen.spec.revision_history_limit - (revisions[active].outcome == "Successful" if active in revisions else 0)
    names = {seen.wanted, active, candidate, *running, *(r.name for r in successful[: max(room, 0)])}
    return {name: revision for name, revision in revisions.items() if name in names}


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((s for s in (one, other) if s is not None), default=None)
