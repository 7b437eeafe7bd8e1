"""The status that people, Argo CD and `kubectl wait` read, from what is seen and decided. Pure.

Conditions are positive, and one whose feature is off is absent. Their times are those of the change, taken over
from the live status where nothing changed: an unchanged deployment gives an unchanged status.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from herald_operator.build.naming import Object
from herald_operator.planning.readiness import Readiness
from herald_operator.planning.rollout import Decision

# Ours; conditions of other types belong to somebody else and are left alone.
TYPES = (
    "Accepted", "MessagingReady", "DatabaseReady", "MemoryReady", "InferenceReady", "GatewayReady", "AgentsReady",
    "IntegrationsReady", "Progressing", "Promoted", "Ready",
)  # fmt: skip
_CONDITION_OF = {
    "nats": "MessagingReady", "postgres": "DatabaseReady", "migration": "DatabaseReady", "milvus": "MemoryReady",
    "inference": "InferenceReady", "gateway": "GatewayReady", "agents": "AgentsReady",
}  # fmt: skip
_UNREADABLE = "what is stored of it cannot be read: its workers stay while it answers, and nobody can go back to it"


@dataclass(frozen=True, slots=True)
class Part:
    """One component and how it is."""

    name: str
    readiness: Readiness


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition before it has a time."""

    type: str
    status: str
    reason: str
    message: str = ""


def conditions(verdicts: Iterable[Verdict], live: Object, generation: int, now: datetime) -> list[Object]:
    """As they stand in `status.conditions`, by type."""
    before = {c.get("type"): c for c in _list(live.get("conditions"))}
    made = []
    for verdict in verdicts:
        old = before.get(verdict.type) or {}
        since = old.get("lastTransitionTime") if old.get("status") == verdict.status else None
        made.append(
            {
                "type": verdict.type,
                "status": verdict.status,
                "observedGeneration": generation,
                "lastTransitionTime": since or now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "reason": verdict.reason,
                "message": verdict.message[:4_096],
            }
        )
    return sorted(made, key=lambda c: str(c["type"]))


def of_parts(parts: Iterable[Part]) -> list[Verdict]:
    """One verdict for each condition that a part belongs to: the first of its parts that is not ready speaks."""
    made: dict[str, Verdict] = {}
    for part in parts:
        kind, state = _CONDITION_OF[part.name], part.readiness
        if kind in made and made[kind].status == "False":
            continue
        if state.ready:
            made[kind] = Verdict(kind, "True", "Ready", state.message)
        else:
            made[kind] = Verdict(
                kind, "False", "Trouble" if state.trouble else "Starting", f"{part.name} {state.message}"
            )
    return list(made.values())


def of_rollout(decision: Decision, *, paused: bool) -> list[Verdict]:
    """Is somebody about to take over, and has the spec's own revision done so?"""
    moving = decision.reason in ("Starting", "Switching")
    reason = "Paused" if paused else decision.reason
    progressing = Verdict("Progressing", "True" if moving and not paused else "False", reason, decision.message)
    if decision.reason == "Failed":
        return [progressing, Verdict("Promoted", "False", "RevisionFailed", decision.message)]
    done = not decision.candidate and bool(decision.active)
    promoted = Verdict(
        "Promoted", "True" if done else "False", "Promoted" if done else decision.reason, decision.message
    )
    return [progressing, promoted]


def summary(verdicts: Iterable[Verdict], *, active: str, suspended: bool) -> Verdict:
    """Ready: everything that answers messages does its work. A candidate that fails leaves it True: the old answers."""
    if suspended:
        return Verdict("Ready", "False", "Suspended", "spec.suspend is true: messages are refused, data is kept")
    needed = [v for v in verdicts if v.type not in ("Progressing", "Promoted", "IntegrationsReady")]
    bad = [v for v in needed if v.status != "True"]
    if bad:
        trouble = next((v for v in bad if v.reason not in ("Starting",)), bad[0])
        return Verdict("Ready", "False", trouble.reason, trouble.message)
    if not active:
        return Verdict("Ready", "False", "Starting", "no revision answers yet")
    return Verdict("Ready", "True", "Ready", "messages are accepted and answered")


def phase(verdicts: Mapping[str, Verdict], *, deleting: bool, suspended: bool, paused: bool, active: str) -> str:
    """One word for the printer column."""
    if deleting:
        return "Deleting"
    if verdicts["Accepted"].status != "True":
        return "Invalid"
    if suspended:
        return "Suspended"
    promoted = verdicts.get("Promoted")
    if promoted is not None and promoted.reason == "RevisionFailed":
        return "Degraded"
    if paused:
        return "Paused"
    progressing = verdicts.get("Progressing")
    if progressing is not None and progressing.reason == "WaitingForPromotion":
        return "WaitingForPromotion"
    if verdicts["Ready"].status == "True":
        return "Progressing" if progressing is not None and progressing.status == "True" else "Ready"
    if not active:
        return "Degraded" if verdicts["Ready"].reason == "Trouble" else "Starting"
    return "Degraded"


def history(decision: Decision) -> list[Object]:
    """Newest first."""
    made = []
    for revision in sorted(decision.revisions.values(), key=lambda r: -r.number):
        entry: Object = {"revision": revision.name, "number": revision.number, "outcome": revision.outcome}
        if revision.promoted is not None:
            entry["promotedAt"] = revision.promoted.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        message = revision.message if revision.shape is not None else _UNREADABLE
        if message:
            entry["message"] = message
        made.append(entry)
    return made[:32]


def ours(live: Object) -> list[Object]:
    """Our conditions of a live status, by type."""
    found = [dict(c) for c in _list(live.get("conditions")) if c.get("type") in TYPES]
    return sorted(found, key=lambda c: str(c["type"]))


def differs(wanted: Object, live: Object) -> bool:
    """Whether `wanted` must be written. What others wrote into the status beside ours is no reason."""
    for key, value in wanted.items():
        if key == "conditions":
            if ours(live) != value:
                return True
        elif live.get(key) != value and not (live.get(key) is None and value in ("", [], 0)):
            return True
    return False


def transitions(wanted: Object, live: Object) -> list[tuple[str, str, str]]:
    """What is worth an Event: (Normal or Warning, reason, message) for each condition that changed its status.

    And once for each revision of which it is news that it cannot be read.
    """
    before = {c.get("type"): c for c in _list(live.get("conditions"))}
    made = []
    for condition in wanted.get("conditions") or []:
        old = (before.get(condition["type"]) or {}).get("status")
        new, kind = condition["status"], condition["type"]
        if old == new or (old is None and new != "True" and kind != "Accepted"):
            continue
        good = new == "True" or kind == "Progressing"
        reason = kind if new == "True" else f"Not{kind}"
        made.append(("Normal" if good else "Warning", reason, condition["message"] or condition["reason"]))
    known = {entry.get("revision") for entry in _list(live.get("history")) if entry.get("message") == _UNREADABLE}
    for entry in wanted.get("history") or []:
        if entry.get("message") == _UNREADABLE and entry["revision"] not in known:
            made.append(("Warning", "RevisionUnreadable", f"{entry['revision']}: {_UNREADABLE}"))
    return made


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
