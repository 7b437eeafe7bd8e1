"""Taking a consumer's messages in batches, with a limit to the waiting.

A loop that also has a lease to renew cannot wait for a message for ever, and must not lose one by giving up the
wait at the wrong moment: the wait for the next message goes on in the background between two batches.
"""

import asyncio
from typing import Any, Self

from nats.aio.client import Client
from nats.aio.msg import Msg

from herald_runtime.pulling import Puller


class Feed:
    """The messages of one pull consumer. An async context manager."""

    def __init__(self, client: Client, stream: str, consumer: str, *, batch: int, gapless: bool = False) -> None:
        self._puller = Puller(client, stream, consumer, batch=batch, gapless=gapless)
        self._next: asyncio.Task[Msg] | None = None
        self._nudged: asyncio.Future[None] | None = None

    def nudge(self) -> None:
        """End the wait of a `batch` that goes on now; what it would have brought comes with the next one."""
        if self._nudged is not None and not self._nudged.done():
            self._nudged.set_result(None)

    async def __aenter__(self) -> Self:
        await self._puller.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._puller.__aexit__()

    async def batch(self, most: int, wait: float) -> list[Msg]:
        """Up to `most` messages in stream order; [] when none came within `wait` seconds, or before `nudge`.

        Raises ConsumerGone.
        """
        if self._next is None:
            self._next = asyncio.ensure_future(self._puller.__anext__())
        self._nudged = asyncio.get_running_loop().create_future()
        either: tuple[asyncio.Future[Any], ...] = (self._next, self._nudged)
        await asyncio.wait(either, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        if not self._next.done():
            return []
        first, self._next = self._next, None
        return [first.result(), *self._puller.ready(most - 1)]
