"""Delivery records in a NATS key-value bucket: what lets two senders never both believe that they own an attempt.

Every write names the revision it builds on, and the server refuses all but one. A write whose acknowledgement was
lost is read back before anything else happens, so that an owner knows that it is one.
Reads go to the stream's leader (never a direct get): a stale read would cost a round trip, not a promise, but it
would cost it on every crash.
"""

import asyncio

import nats.errors
from nats.aio.client import Client
from nats.js.api import Header
from nats.js.errors import APIError, NotFoundError
from nats.js.errors import Error as JetStreamError

from herald_contracts.errors import MalformedMessage, PermanentError, TemporaryError
from herald_gateway.delivery_rules import Record

_TIMEOUT = 3.0
_TRIES = 3
_PAUSE = 0.1
_WRONG_SEQUENCE = frozenset((10071, 10164))


class Fenced(PermanentError):
    """Another sender has moved the record on: this attempt is no longer ours to speak for."""


class RecordsUnavailable(TemporaryError):
    """The bucket does not answer, or does not exist (yet)."""


class Deliveries:
    """The records of one deployment; keys are reply ids."""

    def __init__(self, client: Client, bucket: str) -> None:
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}."
        self._js = client.jetstream(timeout=_TIMEOUT)

    async def read(self, reply: str) -> tuple[Record | None, int]:
        """The record and its revision; (None, 0) when there is none. Raises RecordsUnavailable."""
        try:
            found = await self._js.get_last_msg(self._stream, self._prefix + reply)
        except NotFoundError:
            return None, 0
        except (nats.errors.Error, JetStreamError, TimeoutError, OSError) as e:
            raise RecordsUnavailable(type(e).__name__) from None
        try:
            return Record.from_wire(found.data or b""), found.seq or 0
        except MalformedMessage as e:
            raise RecordsUnavailable(f"a record that this version cannot read: {e}") from None

    async def write(self, reply: str, record: Record, revision: int) -> int:
        """Replace what is at `revision` (0: create) and return the new one.

        Raises Fenced when the record is no longer at `revision`, RecordsUnavailable when nobody could say.
        """
        payload = record.to_wire()
        problem = ""
        for _ in range(_TRIES):
            try:
                ack = await self._js.publish(
                    self._prefix + reply,
                    payload,
                    headers={Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(revision)},
                )
                return ack.seq
            except APIError as e:
                if e.err_code not in _WRONG_SEQUENCE:
                    raise RecordsUnavailable(f"{e.err_code}: {e.description}") from None
                problem = "moved"
            except (nats.errors.Error, JetStreamError, TimeoutError, OSError) as e:
                problem = type(e).__name__
            stored, at = await self.read(reply)
            if stored == record:
                return at  # our own earlier try
            if at != revision:
                raise Fenced(f"the record is at {at}, not {revision}")
            await asyncio.sleep(_PAUSE)
        raise RecordsUnavailable(problem)
