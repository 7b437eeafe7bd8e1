"""Replies out: pull from stream OUT, deliver at most as often as the channel allows, tell the workers.

The stream's acknowledgement is given last. Whatever happens before it, the reply comes again, and its delivery
record says how far the last sender came; `delivery_rules` decides, this module only carries out.
"""

import asyncio
import contextlib
import os
import random
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from herald_contracts.errors import MalformedMessage, TemporaryError
from herald_contracts.messages import Receipt, Reply
from herald_contracts.streams import SENDER_ACK_WAIT
from herald_contracts.subjects import Names
from herald_gateway.attempts import attempt
from herald_gateway.channels.base import Channel
from herald_gateway.deliveries import Deliveries, Fenced, RecordsUnavailable
from herald_gateway.delivery_rules import (
    Announce,
    Down,
    Policy,
    Record,
    Result,
    Retry,
    Send,
    Settle,
    Wait,
    begin,
    end,
)
from herald_gateway.measurements import Measurements
from herald_runtime import logs
from herald_runtime.acks import Publisher
from herald_runtime.pulling import ConsumerGone, Puller

log = logs.get("senders")

_RECEIPT_SECONDS = 5.0
_SOON = 1.0  # until a reply is looked at again after a hiccup of NATS itself
_NO_ROOM = 0.25
_CONSUMER_PAUSE = 1.0


def utc_now() -> datetime:
    return datetime.now(UTC)


class Senders:
    """Delivers the replies of one deployment. `run` until `stop`."""

    def __init__(
        self,
        client: Client,
        publisher: Publisher,
        names: Names,
        channels: Mapping[str, Channel],
        measurements: Measurements,
        *,
        in_flight: int,
        deliver_for: float,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._client = client
        self._publisher = publisher
        self._names = names
        self._channels = channels
        self._measurements = measurements
        self._deliver_for = deliver_for
        self._now = now
        self._records = Deliveries(client, names.deliveries)
        self.holder = f"{socket.gethostname()[:200]}/{os.getpid()}/{secrets.token_hex(4)}"
        self._in_flight = in_flight
        # One platform that answers slowly must not take every place.
        self._per_channel = in_flight if len(channels) == 1 else max(1, in_flight // 2)
        self._places = asyncio.Semaphore(in_flight)
        self._busy: Counter[str] = Counter()
        self._running: dict[str, Msg] = {}
        self._owed: set[str] = set()  # replies that we have sent, or may have, without having written down how it ended
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Pull and deliver until `stop` is called; then nothing is pulled any more."""
        beat = asyncio.create_task(self._keep_alive(), name="sender heartbeat")
        try:
            while not self._stopping.is_set():
                try:
                    async with Puller(
                        self._client, self._names.out_stream, self._names.senders, batch=self._in_flight
                    ) as puller:
                        await self._pull(puller)
                        for message in await puller.leave():
                            await _hand_back(message, None)
                except ConsumerGone as e:
                    log.warning("no consumer to pull from, trying again", problem=str(e))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_CONSUMER_PAUSE):
                            await self._stopping.wait()
            await self._finished()
        finally:
            beat.cancel()

    def stop(self) -> None:
        """Take nothing new; `run` returns once what is running has ended."""
        self._stopping.set()

    async def abandon(self) -> None:
        """End what is still running: its records stay in `sending`, and another sender goes by them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _finished(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _pull(self, puller: Puller) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while True:
                await self._places.acquire()
                message = await self._next(puller, stopping)
                if message is None:
                    return
                task = asyncio.create_task(self._handle(message))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
        finally:
            stopping.cancel()

    async def _next(self, puller: Puller, stopping: asyncio.Task[bool]) -> Msg | None:
        """The next message for the place that was taken, or None, the place given back, when it is time to stop."""
        following = asyncio.ensure_future(anext(puller))
        try:
            await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stopping.is_set():
                return following.result()
            if following.done():
                await _hand_back(following.result(), None)
        except ConsumerGone:
            self._places.release()
            raise
        following.cancel()
        self._places.release()
        return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()
        if not task.cancelled() and task.exception() is not None:
            log.error("a delivery ended with a fault of ours", exc_info=task.exception())

    async def _keep_alive(self) -> None:
        """Tell the server that we are still at it, so that a slow platform does not bring in a second sender."""
        while True:
            await asyncio.sleep(SENDER_ACK_WAIT / 3)
            for message in list(self._running.values()):
                with contextlib.suppress(NatsError):
                    await message.in_progress()

    async def _handle(self, message: Msg) -> None:
        try:
            reply = Reply.from_wire(message.data)
        except MalformedMessage as e:
            log.error("a reply that cannot be read is set aside", subject=message.subject, problem=str(e))
            self._measurements.deliveries.add("", "unreadable")
            await message.term()
            return
        if reply.id in self._running:
            return  # redelivered while we are at it: the acknowledgement of either copy counts for both
        if self._busy[reply.channel] >= self._per_channel:
            await _hand_back(message, _NO_ROOM)
            return
        self._running[reply.id] = message
        self._busy[reply.channel] += 1
        try:
            await self._deliver(message, reply)
        except Fenced as e:
            log.warning("another sender has taken over", reply=reply.id, problem=str(e))
        except RecordsUnavailable as e:
            log.warning("delivery records do not answer", reply=reply.id, problem=str(e))
            await _hand_back(message, _SOON)
        except TemporaryError as e:
            log.warning("the receipt was not stored", reply=reply.id, problem=str(e))
            await _hand_back(message, _SOON)
        except NatsError as e:
            # An acknowledgement that could not leave: the reply comes again, and its record ends the matter.
            log.warning("not acknowledged", reply=reply.id, error=type(e).__name__)
        finally:
            self._busy[reply.channel] -= 1
            del self._running[reply.id]

    async def _deliver(self, message: Msg, reply: Reply) -> None:
        channel = self._channels.get(reply.channel)
        policy = Policy(
            idempotent=channel is not None and channel.idempotent,
            on_unknown=channel.on_unknown if channel is not None else "hold",
            deliver_for=self._deliver_for,
        )
        record: Record | None = None
        revision = 0
        if message.metadata.num_delivered > 1:
            record, revision = await self._records.read(reply.id)
        while True:
            idle = reply.id not in self._owed
            step = begin(record, policy, holder=self.holder, now=self._now(), idle=idle)
            try:
                match step:
                    case Send(starting):
                        revision = await self._records.write(reply.id, starting, revision)
                        await self._attempt(message, reply, channel, policy, starting, revision)
                    case Settle(final):
                        await self._records.write(reply.id, final, revision)
                        await self._announce(message, reply, final)
                    case Announce(final):
                        await self._announce(message, reply, final)
                    case Wait(seconds):
                        await _hand_back(message, seconds)
                return
            except Fenced:
                if record is not None or revision != 0:
                    raise
                # The first look was a guess that there is no record; there is one.
                record, revision = await self._records.read(reply.id)
                if record is None:
                    raise

    async def _attempt(
        self, message: Msg, reply: Reply, channel: Channel | None, policy: Policy, record: Record, revision: int
    ) -> None:
        self._owed.add(reply.id)
        result = await self._send(reply, channel, record.attempt)
        verdict = end(record, result, policy, now=self._now(), jitter=random.random())
        await self._write_down(reply, verdict.record, revision)
        self._owed.discard(reply.id)
        match verdict:
            case Settle(final):
                await self._announce(message, reply, final)
            case Retry(waiting, seconds):
                self._measurements.deliveries.add(_label(channel), "retried")
                log.warning(
                    "not delivered, trying again",
                    reply=reply.id,
                    channel=reply.channel,
                    attempt=waiting.attempt,
                    reason=waiting.reason,
                    seconds=round(seconds, 1),
                )
                await _hand_back(message, seconds)

    async def _send(self, reply: Reply, channel: Channel | None, number: int) -> Result:
        if channel is None:
            # During a rollout a gateway may still have the settings of before this channel existed.
            return Down(f"no channel {reply.channel!r} here")
        began = time.perf_counter()
        try:
            return await attempt(channel, reply, number)
        finally:
            self._measurements.delivery_took(channel.name, time.perf_counter() - began)

    async def _write_down(self, reply: Reply, record: Record, revision: int) -> None:
        """We alone know how the attempt ended: keep trying as long as the process lives. Raises Fenced."""
        while True:
            try:
                await self._records.write(reply.id, record, revision)
                return
            except RecordsUnavailable as e:
                log.warning("an outcome is not written down yet", reply=reply.id, state=record.state, problem=str(e))
                await asyncio.sleep(_SOON)

    async def _announce(self, message: Msg, reply: Reply, record: Record) -> None:
        if record.state not in ("sent", "unknown", "failed"):
            raise ValueError(f"{record.state} is not an outcome")
        receipt = Receipt(
            reply=reply.id,
            channel=reply.channel,
            conversation=reply.conversation,
            outcome=record.state,
            platform_message_id=record.platform_message_id,
            reason=record.reason,
            attempts=record.attempt,
            at=record.since,
        )
        await self._publisher.publish(
            self._names.receipt(reply.channel, reply.conversation),
            receipt.to_wire(),
            f"{reply.id}:{record.state}",
            deadline=_RECEIPT_SECONDS,
        )
        await message.ack()
        self._measurements.deliveries.add(_label(self._channels.get(reply.channel)), record.state)
        if record.state != "sent":
            log.error(
                "not delivered",
                reply=reply.id,
                channel=reply.channel,
                outcome=record.state,
                reason=record.reason,
                attempts=record.attempt,
            )


async def _hand_back(message: Msg, seconds: float | None) -> None:
    """Let the server give it out again. Lost with the connection, it comes again anyway, only later."""
    with contextlib.suppress(NatsError):
        await message.nak(seconds)


def _label(channel: Channel | None) -> str:
    return channel.name if channel is not None else ""
