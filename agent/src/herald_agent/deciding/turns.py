"""What a turn is to the code that runs it: the values that the store hands out and takes back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for a conversation: every write of a turn names it, and counts for nothing without it."""

    conversation: str
    epoch: int
    holder: str


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation's past."""

    role: Literal["user", "agent"]
    sender: str
    content: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that is ours to run. `age` is in seconds, since its time budget began; `history` has the oldest first.

    `quiet`: an earlier reply of the conversation is still on its way to the platform. Showing this one as it grows
    would put it before the other.
    """

    id: str
    lease: Lease
    position: int
    user_key: str
    payload: str
    attempts: int
    adoptions: int
    reply_number: int
    age: float
    quiet: bool = False
    history: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A message on its way into the table. `payload` is the Message as JSON."""

    turn: str
    conversation: str
    channel: str
    chat: str
    event_id: str
    in_seq: int
    user_key: str
    payload: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stream entry that is no message, and why."""

    in_seq: int
    reason: str
    payload: bytes
