"""Saying no, or not now: one small answer, one count, and a log line that a flood cannot turn into a full disk."""

import json
import time
from collections.abc import Callable

from herald_gateway.channels.base import Refused
from herald_gateway.measurements import Measurements
from herald_runtime import logs

log = logs.get("refusals")
_QUIET_SECONDS = 1.0


def body_of(refusal: Refused) -> bytes:
    """The JSON that the caller sees. Who could not prove who they are learns nothing about why."""
    if refusal.status == 401:
        return b'{"error": "unauthenticated"}'
    answer = {"error": refusal.reason}
    if refusal.field:
        answer["field"] = refusal.field
    return json.dumps(answer).encode()


class Refusals:
    """Counts every refusal by channel and reason; logs at most one line a second for each pair."""

    def __init__(self, measurements: Measurements, clock: Callable[[], float] = time.monotonic) -> None:
        self._measurements = measurements
        self._clock = clock
        self._logged: dict[tuple[str, str], float] = {}
        self._unlogged: dict[tuple[str, str], int] = {}

    def count(self, channel: str, reason: str, status: int, address: str, problem: str = "") -> None:
        """`channel` is "" when the request named none that exists: a stranger must not invent label values.

        `problem` is for the log only: what an operator of Herald needs to know beyond the reason.
        """
        self._measurements.refused.add(channel, reason)
        key = (channel, reason)
        now = self._clock()
        if now - self._logged.get(key, -_QUIET_SECONDS) < _QUIET_SECONDS:
            self._unlogged[key] = self._unlogged.get(key, 0) + 1
            return
        self._logged[key] = now
        more = self._unlogged.pop(key, 0)
        extra = {"problem": problem} if problem else {}
        log.warning(
            "refused", channel=channel, reason=reason, status=status, address=address, unlogged_before=more, **extra
        )
