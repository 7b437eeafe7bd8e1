"""Making messages durable inside the platform's patience.

A publish whose outcome is unknown is repeated under the same id until the deadline: the stream recognises it. A
short restart of NATS thus costs a caller some milliseconds and no retry of its own.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from herald_contracts.errors import ConfigurationError, HeraldError
from herald_contracts.messages import Message
from herald_contracts.subjects import Names
from herald_runtime.acks import NotStored, OutcomeUnknown, Publisher, StreamFull

_ATTEMPT_SECONDS = 1.0
_PAUSE_SECONDS = 0.05
_LEAST_SECONDS = 0.05
_TROUBLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NotNow:
    """How a failure to store is told: to the operator by reason, to the caller by when to come again (seconds)."""

    reason: str
    retry_after: int


def not_now(error: HeraldError) -> NotNow:
    """A full stream does not empty in a second; anything else may be over by then."""
    match error:
        case StreamFull():
            return NotNow("stream_full", 30)
        case OutcomeUnknown():
            return NotNow("no_acknowledgement", 2)
        case ConfigurationError():
            return NotNow("configuration", 30)
        case _:
            return NotNow("not_stored", 2)


class Intake:
    """The way into stream IN."""

    def __init__(self, names: Names, deadline: float) -> None:
        """`deadline`: seconds from a request's arrival to its durable acknowledgement."""
        self._names = names
        self._deadline = deadline
        self.publisher: Publisher | None = None  # until the process is connected
        self._refused = ""
        self._refused_at = 0.0

    def trouble(self) -> str:
        """Why the last message could not be stored; "" when it could, or so long ago that trying again is due."""
        return self._refused if time.perf_counter() - self._refused_at < _TROUBLE_SECONDS else ""

    async def store(self, messages: Sequence[Message], began: float, patience: float) -> list[bool]:
        """Store the messages in order; True for each one that was there already.

        `began` is the request's arrival by `time.perf_counter`, `patience` what the platform allows in seconds.
        Raises StreamFull, NotStored or OutcomeUnknown: then the caller must not be told that all is well.
        """
        if not messages:
            return []
        until = began + min(self._deadline, patience)
        try:
            stored = [await self._store(message, until) for message in messages]
        except HeraldError as e:
            self._refused = f"the last message was not stored ({not_now(e).reason}: {e})"
            self._refused_at = time.perf_counter()
            raise
        self._refused = ""
        return stored

    async def _store(self, message: Message, until: float) -> bool:
        subject = self._names.incoming(message.channel, message.conversation)
        payload = message.to_wire()
        while True:
            left = until - time.perf_counter()
            try:
                if self.publisher is None:
                    raise NotStored("starting")
                stored = await self.publisher.publish(
                    subject, payload, message.id, deadline=min(max(left, _LEAST_SECONDS), _ATTEMPT_SECONDS)
                )
                return stored.duplicate
            except StreamFull:
                raise
            except (NotStored, OutcomeUnknown):
                if until - time.perf_counter() <= _PAUSE_SECONDS:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
