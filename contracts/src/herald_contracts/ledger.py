"""The ledger: what became of every accepted message. The product's promise, as a table.

accepted = waiting + running + replying + answered + noted + unknown + dead, at every moment.
"""

from datetime import datetime
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

State = Literal["waiting", "running", "replying", "answered", "noted", "unknown", "dead"]
STATES: tuple[State, ...] = get_args(State)
OPEN: frozenset[State] = frozenset({"waiting", "running", "replying"})  # of a message whose fate may still change

MEANING: dict[State, str] = {
    "waiting": "accepted, its turn has not begun",
    "running": "a worker is on it",
    "replying": "the reply is durable, its platform has not confirmed it yet",
    "answered": "the platform has confirmed the reply",
    "noted": "accepted and done; no reply was due (an edit, a recall)",
    "unknown": "the reply was sent at most once, the platform never said whether it arrived",
    "dead": "failed for good: see `herald dead-letters`",
}


class Counts(BaseModel):
    """One consistent count. `accepted` is counted on its own, so that a mismatch would show."""

    model_config = ConfigDict(frozen=True)

    accepted: int = Field(ge=0)
    waiting: int = Field(default=0, ge=0)
    running: int = Field(default=0, ge=0)
    replying: int = Field(default=0, ge=0)
    answered: int = Field(default=0, ge=0)
    noted: int = Field(default=0, ge=0)
    unknown: int = Field(default=0, ge=0)
    dead: int = Field(default=0, ge=0)

    @property
    def balanced(self) -> bool:
        return self.accepted == sum(int(getattr(self, state)) for state in STATES)


class Row(BaseModel):
    """One accepted message. Times are UTC; None means not yet."""

    model_config = ConfigDict(frozen=True)

    event_id: str
    channel: str
    conversation: str
    turn: str
    state: State
    revision: str | None
    attempts: int
    received_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    delivered_at: datetime | None
    platform_message_id: str | None
    reason: str | None = None
