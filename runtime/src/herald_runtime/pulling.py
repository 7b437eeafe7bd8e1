"""Pulling from a JetStream consumer without pauses: the next request goes out at half of the last batch.

nats-py's `fetch` costs a round trip per batch, and a fetch that is pending during a reconnect is never sent
again. This loop keeps one request open, asks anew after a reconnect or a missed heartbeat, and lets the
caller say how much it has room for.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from herald_contracts.errors import TemporaryError
from herald_runtime import logs

_HEARTBEAT = 1.0
_EXPIRES = 5.0
log = logs.get("pulling")


class ConsumerGone(TemporaryError):
    """The server does not know the consumer (any more): make it again, or wait for whoever makes it."""


class Puller:
    """An endless iterator over the messages of one pull consumer.

    `batch` is the most that may be on its way to us at once. Messages arrive in stream order. Acknowledging is
    the caller's: `await msg.ack()`.

    A consumer without acknowledgement never sends again what got lost with a connection. For such a one set
    `gapless`: a jump in the consumer's own count ends the iteration with ConsumerGone, and the caller begins anew,
    with a fresh consumer, from the last message it knows.
    """

    def __init__(self, client: Client, stream: str, consumer: str, *, batch: int = 100, gapless: bool = False) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
        self._batch = batch
        self._queue: asyncio.Queue[Msg | Exception] = asyncio.Queue()
        self._outstanding = 0
        self._request = 0
        self._last_heard = 0.0
        self._delivered: int | None = 0 if gapless else None
        self._subscription: Subscription | None = None
        # Requests are sent by a task of their own: whoever takes a message must get it without another await, since
        # a caller that is cancelled there would lose what it had taken.
        self._room = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self.name = f"{stream}/{consumer}"

    async def __aenter__(self) -> "Puller":
        # Without limits of its own the client would drop what it has no room for, silently; `batch` is the limit.
        self._subscription = await self._client.subscribe(
            f"{self._inbox}.*", cb=self._arrived, pending_msgs_limit=0, pending_bytes_limit=0
        )
        await self._ask(self._batch)
        self._asking = asyncio.create_task(self._keep_asking(), name=f"ask {self.name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._asking is not None:
            self._asking.cancel()
        if self._subscription is not None and not self._client.is_closed:
            # The connection may be going, and the subscription with it.
            with contextlib.suppress(NatsError, OSError):
                await self._subscription.unsubscribe()

    def __aiter__(self) -> AsyncIterator[Msg]:
        return self

    async def __anext__(self) -> Msg:
        """The next message. Raises ConsumerGone."""
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        self._refill()
        return item

    def ready(self, most: int) -> list[Msg]:
        """Up to `most` messages that have already arrived, without waiting."""
        taken: list[Msg] = []
        while len(taken) < most and not self._queue.empty():
            item = self._queue.get_nowait()
            if isinstance(item, Exception):
                self._queue.put_nowait(item)
                break
            taken.append(item)
        self._refill()
        return taken

    async def leave(self) -> list[Msg]:
        """Ask for nothing more, and return what has arrived and was not taken: the caller hands it back."""
        if self._asking is not None:
            self._asking.cancel()
        if self._subscription is not None and not self._client.is_closed:
            with contextlib.suppress(NatsError, OSError):
                await self._subscription.unsubscribe()
            self._subscription = None
        left: list[Msg] = []
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if not isinstance(item, Exception):
                left.append(item)
        return left

    def _refill(self) -> None:
        """Ask for more once half of what we may hold has been taken: a slow caller never gathers more than that."""
        if self._held() <= self._batch // 2:
            self._room.set()

    def _held(self) -> int:
        return self._outstanding + self._queue.qsize()

    async def _ask(self, count: int) -> None:
        self._request += 1
        self._outstanding += count
        self._last_heard = asyncio.get_running_loop().time()
        body = {"batch": count, "expires": int(_EXPIRES * 1e9), "idle_heartbeat": int(_HEARTBEAT * 1e9)}
        try:
            await self._client.publish(self._subject, json.dumps(body).encode(), reply=f"{self._inbox}.{self._request}")
        except (NatsError, OSError) as e:
            log.debug("request not sent", consumer=self.name, error=type(e).__name__)

    async def _arrived(self, msg: Msg) -> None:
        self._last_heard = asyncio.get_running_loop().time()
        status = (msg.headers or {}).get("Status") if not msg.data else None
        if status is None:
            self._outstanding = max(0, self._outstanding - 1)
            if self._delivered is not None:
                self._delivered += 1
                if msg.metadata.sequence.consumer != self._delivered:
                    self._queue.put_nowait(ConsumerGone(f"{self.name}: messages were lost on their way here"))
                    return
            self._queue.put_nowait(msg)
        elif status == "100":
            return
        elif status in ("404", "408", "409"):
            description = (msg.headers or {}).get("Description", "")
            if "Deleted" in description or "Shutdown" in description:
                self._queue.put_nowait(ConsumerGone(f"{self.name}: {description}"))
                return
            # An expired or superseded request: whatever it had left will not come.
            left = (msg.headers or {}).get("Nats-Pending-Messages")
            self._outstanding = max(0, self._outstanding - int(left)) if left else 0
            self._refill()
        elif status == "503":
            self._queue.put_nowait(ConsumerGone(f"{self.name}: no responders"))

    async def _keep_asking(self) -> None:
        """Ask when there is room, and again when the server was silent for two heartbeats: it lost our request."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARTBEAT):
                    await self._room.wait()
            silent = asyncio.get_running_loop().time() - self._last_heard
            if silent > 2.5 * _HEARTBEAT and self._client.is_connected:
                self._outstanding = 0
                self._last_heard = asyncio.get_running_loop().time()
                self._refill()
            if self._room.is_set():
                self._room.clear()
                await self._ask(self._batch - self._held())
