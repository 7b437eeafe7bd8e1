"""Steps: what identifies one, and what to do with one that the journal knows already.

A step is recorded as started before it is carried out. One that is started without a result was cut off, and
nobody knows how far it came: only a step that may happen twice is carried out again.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from herald_contracts.errors import PermanentError


class UnknownOutcome(PermanentError):
    """A step that must not happen twice was cut off: whether it happened is for a person to find out."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action of a turn. `input_hash` is of everything that shapes the result."""

    turn: str
    number: int
    kind: str
    input_hash: str
    idempotent: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What the journal knew of a step. `state` None: nothing, it is recorded as started now.

    `ours`: it was recorded under this very lease, so nobody but this run of the turn can have carried it out.
    """

    state: Literal["started", "done"] | None
    output: dict[str, Any] | None
    ours: bool


def step(turn: str, number: int, kind: str, inputs: object, *, idempotent: bool) -> Step:
    """The `number`-th step of `turn`. `inputs` is JSON-able; equal inputs make the same step."""
    canonical = json.dumps([kind, inputs], ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return Step(turn, number, kind, hashlib.sha256(canonical.encode()).hexdigest(), idempotent)


def output_of(step: Step, found: Found) -> dict[str, Any] | None:
    """The stored result to use again, or None: carry the step out now. Raises UnknownOutcome."""
    if found.state == "done":
        return found.output or {}
    if found.state == "started" and not found.ours and not step.idempotent:
        raise UnknownOutcome(f"step {step.number} ({step.kind}) was begun and never heard of again")
    return None
