"""What the delivery tests share: senders in this process, a real stream, a recording receiver."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import aiohttp
import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig
from nats.js.errors import NotFoundError
from opentelemetry import metrics
from starlette.routing import BaseRoute

from herald_contracts.messages import Receipt, Reply
from herald_contracts.settings import Limits
from herald_contracts.subjects import Names
from herald_gateway.channels import hmac
from herald_gateway.channels.base import Channel, ChannelContext, Delivered, Inbound, RawRequest
from herald_gateway.delivery_rules import Record
from herald_gateway.measurements import Measurements
from herald_gateway.senders import Senders
from herald_runtime.acks import Publisher
from tests.unit.gateway import samples

DEADLINE = 30.0


@dataclass
class FakeChannel:
    """A channel whose `send` is whatever a test needs."""

    sending: Callable[[Reply, int], Awaitable[Delivered]]
    name: str = "hook"
    type: str = "fake"
    methods: frozenset[str] = frozenset(("POST",))
    ack_deadline: float = 3
    idempotent: bool = False
    on_unknown: Literal["resend", "hold"] = "hold"
    sent: list[tuple[str, int]] = field(default_factory=list)

    def receive(self, request: RawRequest) -> Inbound:
        raise NotImplementedError

    async def send(self, reply: Reply, attempt: int) -> Delivered:
        self.sent.append((reply.id, attempt))
        return await self.sending(reply, attempt)

    async def start(self, context: ChannelContext) -> None:
        return

    async def stop(self) -> None:
        return

    def routes(self) -> Sequence[BaseRoute]:
        return ()


async def taken(reply: Reply, attempt: int) -> Delivered:
    return Delivered(f"p-{reply.id}")


class Workshop:
    """One deployment's streams, and as many senders as a test wants."""

    def __init__(self, client: Client, publisher: Publisher, names: Names, http: aiohttp.ClientSession) -> None:
        self.client = client
        self.publisher = publisher
        self.names = names
        self.http = http
        self.measurements = Measurements(metrics.get_meter("test"))
        self._stack = contextlib.AsyncExitStack()

    async def hook(self, folder: Path, url: str, on_unknown: Literal["resend", "hold"] = "resend") -> hmac.Hmac:
        """A started `hmac` channel that posts to `url`."""
        secret = samples.secret_folder(folder / "secret", secret=samples.SECRET)
        channel = hmac.create(samples.hmac_settings(secret, reply_url=url, on_unknown=on_unknown))
        await channel.start(self.context())
        self._stack.push_async_callback(channel.stop)
        return channel

    def context(self) -> ChannelContext:
        return ChannelContext(self.http, self.client, self.names, self.publisher, Limits(), 2.5, asyncio.Event())

    def senders(
        self,
        *channels: Channel,
        in_flight: int = 8,
        deliver_for: float = 3_600,
        later: float = 0,
        publisher: Publisher | None = None,
    ) -> Senders:
        """Senders that are not running yet; their clock is `later` seconds ahead."""
        by_name: Mapping[str, Channel] = {channel.name: channel for channel in channels}
        return Senders(
            self.client,
            publisher or self.publisher,
            self.names,
            by_name,
            self.measurements,
            in_flight=in_flight,
            deliver_for=deliver_for,
            now=lambda: datetime.now(UTC) + timedelta(seconds=later),
        )

    @contextlib.asynccontextmanager
    async def running(self, senders: Senders) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(senders.run())
        try:
            yield task
        finally:
            senders.stop()
            await senders.abandon()
            await task

    async def quickly(self, seconds: float = 1.0) -> None:
        """What nobody acknowledges comes again after `seconds`."""
        await self.client.jetstream().add_consumer(
            self.names.out_stream,
            ConsumerConfig(
                durable_name=self.names.senders,
                filter_subject=self.names.outgoing_all,
                ack_wait=seconds,
                max_deliver=-1,
                max_ack_pending=20_000,
            ),
        )

    async def put(self, *replies: Reply) -> None:
        """Relay replies, as a worker does."""
        for reply in replies:
            await self.publisher.publish(
                self.names.outgoing(reply.channel, reply.conversation), reply.to_wire(), "", deadline=5
            )

    async def receipts(self) -> list[Receipt]:
        """All receipts so far, in order."""
        js = self.client.jetstream()
        info = await js.stream_info(self.names.receipt_stream)
        return [
            Receipt.from_wire((await js.get_msg(self.names.receipt_stream, seq)).data or b"")
            for seq in range(1, info.state.last_seq + 1)
        ]

    async def until_receipts(self, count: int) -> list[Receipt]:
        async with asyncio.timeout(DEADLINE):
            while len(found := await self.receipts()) < count:
                await asyncio.sleep(0.02)
        return found

    async def until_settled(self) -> None:
        """Nothing is waiting to be delivered or acknowledged."""
        async with asyncio.timeout(DEADLINE):
            while True:
                info = await self.client.jetstream().consumer_info(self.names.out_stream, self.names.senders)
                if not info.num_ack_pending and not info.num_pending:
                    return
                await asyncio.sleep(0.02)

    async def record(self, reply: Reply) -> Record | None:
        try:
            found = await self.client.jetstream().get_last_msg(
                f"KV_{self.names.deliveries}", f"$KV.{self.names.deliveries}.{reply.id}"
            )
        except NotFoundError:
            return None
        return Record.from_wire(found.data or b"")

    async def until_record(self, reply: Reply, state: str) -> Record:
        async with asyncio.timeout(DEADLINE):
            while True:
                record = await self.record(reply)
                if record is not None and record.state == state:
                    return record
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self._stack.aclose()


def reply(number: int = 1, channel: str = "hook") -> Reply:
    return samples.reply(
        id=f"r{number:026d}", channel=channel, conversation=f"c{number:026d}", event_id=f"event-{number}"
    )


def outcomes(receipts: Sequence[Receipt]) -> list[str]:
    return [receipt.outcome for receipt in receipts]


def expect(condition: bool) -> None:
    if not condition:
        pytest.fail("the test's own preparation went wrong")
