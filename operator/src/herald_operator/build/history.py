"""Revisions as they are stored: ControllerRevisions, with what became of each in their annotations. Pure.

They, and not `status`, are the operator's memory: status may be lost or written by anybody, and must be possible to
compute again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from herald_operator.build.naming import REVISION, Object, Owner
from herald_operator.build.shape import Shape, UnreadableRevision, load

COMPONENT = "revision"
Outcome = Literal["InFlight", "Successful", "Failed", "Superseded"]
_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_PREFIX = "herald.dev/"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision and what became of it. `shape` is None where nobody can read what is stored.

    `approved`: a person said promote. `target`: a person asked to go back to it. `counting`: it is being tried, and
    its time to become available runs from `started`. Times are those of decisions.
    """

    name: str
    number: int
    shape: Shape | None
    started: datetime
    promoted: datetime | None = None
    outcome: Outcome = "InFlight"
    message: str = ""
    approved: bool = False
    target: bool = False
    counting: bool = False


def to_object(owner: Owner, revision: Revision) -> Object:
    assert revision.shape is not None, "what cannot be read is left alone"  # noqa: S101
    notes = {
        f"{_PREFIX}started": _write(revision.started),
        f"{_PREFIX}outcome": revision.outcome,
        **({f"{_PREFIX}promoted": _write(revision.promoted)} if revision.promoted is not None else {}),
        **({f"{_PREFIX}message": revision.message} if revision.message else {}),
        **({f"{_PREFIX}approved": "true"} if revision.approved else {}),
        **({f"{_PREFIX}target": "true"} if revision.target else {}),
        **({f"{_PREFIX}counting": "true"} if revision.counting else {}),
    }
    return owner.object(
        "ControllerRevision",
        "apps/v1",
        owner.child(revision.name),
        COMPONENT,
        {"revision": revision.number, "data": revision.shape.dump()},
        labels={REVISION: revision.name},
        annotations=notes,
    )


def from_object(body: Object) -> Revision | None:
    """None for what is no revision of ours. Annotations that make no sense count as absent."""
    metadata = body["metadata"]
    name = metadata.get("labels", {}).get(REVISION)
    if not name:
        return None
    notes: dict[str, str] = metadata.get("annotations") or {}
    made = _read(metadata.get("creationTimestamp")) or datetime.fromtimestamp(0, UTC)
    outcome = notes.get(f"{_PREFIX}outcome")
    try:
        shape = load(body.get("data"))
    except UnreadableRevision:
        shape = None
    return Revision(
        name=name,
        number=_number(body.get("revision")),
        shape=shape,
        started=_read(notes.get(f"{_PREFIX}started")) or made,
        promoted=_read(notes.get(f"{_PREFIX}promoted")),
        outcome=outcome if outcome in _OUTCOMES else "InFlight",
        message=notes.get(f"{_PREFIX}message", ""),
        approved=notes.get(f"{_PREFIX}approved") == "true",
        target=notes.get(f"{_PREFIX}target") == "true",
        counting=notes.get(f"{_PREFIX}counting") == "true",
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _write(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(text: Any) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return None
