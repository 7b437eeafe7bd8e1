"""What to do with a reply, as pure decisions over its delivery record.

The record is what survives a sender: whoever finds one in state `sending` knows that somebody began an attempt
and never said how it ended. Whether it may then be sent again is the channel's property, never a guess.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, Field

from herald_contracts.messages import Wire

ATTEMPT_SECONDS = 30.0  # the longest one call of a platform may take
_SETTLE_SECONDS = 5.0  # on top: for writing down how it ended
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 60.0
_LONGEST_ASKED = 3_600.0
_MOST_REASON = 512

State = Literal["sending", "waiting", "sent", "unknown", "failed"]
Outcome = Literal["sent", "unknown", "failed"]


class Record(Wire):
    """What is known about the delivery of one reply. Every change of it is a compare-and-set on its revision."""

    state: State
    attempt: int = Field(ge=1)
    holder: str = Field(max_length=256, description="the sender that made the latest attempt")
    first: AwareDatetime = Field(description="when the first attempt began")
    since: AwareDatetime = Field(description="when this state began")
    maybe: bool = Field(default=False, description="an attempt may have arrived without our knowing")
    platform_message_id: str = Field(default="", max_length=512)
    reason: str = Field(default="", max_length=_MOST_REASON)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the channel and the settings say."""

    idempotent: bool
    on_unknown: Literal["resend", "hold"]
    deliver_for: float  # seconds from the first attempt

    @property
    def may_repeat(self) -> bool:
        """Is it right to send again what may have arrived?"""
        return self.idempotent or self.on_unknown == "resend"


@dataclass(frozen=True, slots=True)
class Send:
    """Write `record` first; then make the attempt that it announces."""

    record: Record


@dataclass(frozen=True, slots=True)
class Settle:
    """Write `record`, which is final; then tell the workers."""

    record: Record


@dataclass(frozen=True, slots=True)
class Announce:
    """It was settled before: tell the workers (again)."""

    record: Record


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody may be at it: look again in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Retry:
    """Write `record`; then look again in so many seconds."""

    record: Record
    seconds: float


@dataclass(frozen=True, slots=True)
class Taken:
    """The platform has it."""

    platform_message_id: str


@dataclass(frozen=True, slots=True)
class Down:
    """The platform could not take it; nothing was sent."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Unheard:
    """It was sent, and nothing was heard."""

    reason: str


@dataclass(frozen=True, slots=True)
class Never:
    """The platform will never take it."""

    reason: str


Result = Taken | Down | Unheard | Never


def begin(
    record: Record | None, policy: Policy, *, holder: str, now: datetime, idle: bool
) -> Send | Settle | Announce | Wait:
    """What to do with a reply that has just been handed to this sender, given its record.

    `idle` says that this process is not working on the reply and owes no outcome of it; a record in state `sending`
    with our own `holder` then means that the attempt never began.
    """
    if record is None:
        return Send(Record(state="sending", attempt=1, holder=holder, first=now, since=now))
    if record.state in ("sent", "unknown", "failed"):
        return Announce(record)
    maybe = record.maybe
    if record.state == "sending" and not (idle and record.holder == holder):
        maybe = True
        if not policy.may_repeat:
            age = (now - record.since).total_seconds()
            left = ATTEMPT_SECONDS + _SETTLE_SECONDS - age
            if left > 0:
                return Wait(min(left, ATTEMPT_SECONDS + _SETTLE_SECONDS))
            return Settle(_final(record, "unknown", "a sender ended without saying whether it was delivered", now))
    if now - record.first > timedelta(seconds=policy.deliver_for):
        return Settle(_final(record, "unknown" if maybe else "failed", record.reason or "gave up", now))
    return Send(
        record.model_copy(
            update={
                "state": "sending",
                "attempt": record.attempt + 1,
                "holder": holder,
                "since": now,
                "maybe": maybe,
            }
        )
    )


def end(record: Record, result: Result, policy: Policy, *, now: datetime, jitter: float) -> Settle | Retry:
    """What the attempt that `record` announced has come to. `jitter` is in [0, 1)."""
    match result:
        case Taken(platform_message_id):
            done = _final(record, "sent", "", now)
            return Settle(done.model_copy(update={"platform_message_id": platform_message_id[:512]}))
        case Never(reason):
            # An earlier attempt may have arrived: then "failed" would invite somebody to send it once more.
            return Settle(_final(record, "unknown" if record.maybe else "failed", reason, now))
        case Unheard(reason) if not policy.may_repeat:
            return Settle(_final(record, "unknown", reason, now))
        case Unheard(reason):
            return _again(record, reason, True, None, policy, now, jitter)
        case Down(reason, retry_after):
            return _again(record, reason, record.maybe, retry_after, policy, now, jitter)


def delay(attempt: int, retry_after: float | None, jitter: float) -> float:
    """Seconds until the next attempt: doubling from 1 to 60, spread by a fifth; never sooner than asked for."""
    growing = min(_FIRST_DELAY * 2.0 ** min(attempt - 1, 16), _LONGEST_DELAY) * (0.8 + 0.4 * jitter)
    if retry_after is None:
        return growing
    return max(growing, min(retry_after, _LONGEST_ASKED))


def _again(
    record: Record,
    reason: str,
    maybe: bool,
    retry_after: float | None,
    policy: Policy,
    now: datetime,
    jitter: float,
) -> Settle | Retry:
    if now - record.first > timedelta(seconds=policy.deliver_for):
        return Settle(_final(record, "unknown" if maybe else "failed", reason, now))
    waiting = record.model_copy(
        update={"state": "waiting", "since": now, "maybe": maybe, "reason": reason[:_MOST_REASON]}
    )
    return Retry(waiting, delay(record.attempt, retry_after, jitter))


def _final(record: Record, outcome: Outcome, reason: str, now: datetime) -> Record:
    return record.model_copy(update={"state": outcome, "since": now, "reason": reason[:_MOST_REASON]})
