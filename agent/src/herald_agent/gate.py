"""May this worker take new work? Only while its revision is the active one, as far as it knows.

A worker that has not heard of a switch yet goes on for a moment: that is harmless, because every statement is
fenced by leases in PostgreSQL and not by this gate. The gate decides who should work, the leases decide who may.
"""

import asyncio

from herald_contracts.rollout import Rollout
from herald_runtime import logs

log = logs.get("gate")


class Gate:
    """Closed until `follow` hears of a record whose active revision is `revision`."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self._active = ""
        self._opened = asyncio.Event()

    @property
    def open(self) -> bool:
        return self._opened.is_set()

    @property
    def active(self) -> str:
        """The revision that takes new work; "" before the first record."""
        return self._active

    @property
    def why_closed(self) -> str:
        """For a person who asks why nothing happens; "" while it is open."""
        if self.open:
            return ""
        return "NotActive" if self._active else "NoRolloutRecord"

    def follow(self, record: Rollout) -> None:
        """This is the newest record."""
        if record.active != self._active:
            taking = record.active == self.revision
            log.info("taking new work" if taking else "taking no new work", active=record.active, own=self.revision)
        self._active = record.active
        if record.active == self.revision:
            self._opened.set()
        else:
            self._opened.clear()

    async def opened(self) -> None:
        """Wait until it is open."""
        await self._opened.wait()
