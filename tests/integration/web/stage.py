"""What stands around the page in these tests: a real gateway, and a worker that does what the test tells it."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from herald_cli.ports import Ports
from herald_cli.servers.probes import http_ok
from herald_cli.servers.program import File, Program
from herald_contracts import identity
from herald_contracts.messages import LiveUpdate, Message, Reply
from herald_contracts.settings import GatewaySettings, Nats, WebChannel
from herald_contracts.streams import topology
from herald_contracts.subjects import Names
from herald_operator import messaging
from herald_runtime.acks import Publisher
from herald_runtime.connection import connect
from tests.servers import Server

CHANNEL = "web"
SECONDS = 30.0


class Gateway(Server):
    """`python -m herald_gateway` with one chat page; `kill` and `restart` keep its port and its session key."""

    def __init__(self, folder: Path, nats: Nats, names: Names, *, title: str = "Herald") -> None:
        port = Ports().pick()
        secret = folder / "secret"
        settings = GatewaySettings(
            namespace=names.namespace,
            name=names.name,
            nats=nats,
            port=port,
            channels=(WebChannel(name=CHANNEL, secret=secret, title=title),),
            publish_deadline=1.0,
        )
        file = folder / "gateway.json"

        async def ready() -> bool:
            return await http_ok(port, "/healthz/ready")

        super().__init__(
            Program(
                name="gateway",
                argv=(sys.executable, "-m", "herald_gateway", "--settings", str(file)),
                cwd=folder,
                files=(
                    File(file, settings.model_dump_json()),
                    File(secret / "session-key", secrets.token_hex(32)),
                ),
                ready=ready,
            )
        )
        self.origin = f"http://127.0.0.1:{port}"
        self.url = f"{self.origin}/channels/{CHANNEL}/"


@asynccontextmanager
async def deployed(nats: Nats, names: Names) -> AsyncIterator[Names]:
    """The streams of a deployment with one chat page; they are gone afterwards."""
    wanted = topology(names, web_channels=(CHANNEL,), storage=2**28)
    client = await connect(nats, "fixture")
    try:
        await messaging.ensure(client, wanted)
        yield names
        for name in (*(stream.name for stream in wanted.streams), *(f"KV_{bucket.name}" for bucket in wanted.buckets)):
            await client.jsm().delete_stream(name)
    finally:
        await client.close()


class Asked:
    """One message that the worker has taken; the test says what it answers, and when."""

    def __init__(self, worker: "Worker", message: Message) -> None:
        self.message = message
        self._worker = worker
        self._turn = identity.turn_id(message.id)
        self._reply = identity.reply_id(self._turn)
        self._sequence = 0

    async def show(self, text: str, state: Literal["started", "streaming", "retrying"] = "streaming") -> None:
        """Publish what the answer looks like so far."""
        m = self.message
        self._sequence += 1
        update = LiveUpdate(
            turn=self._turn,
            reply=self._reply,
            channel=m.channel,
            conversation=m.conversation,
            chat=m.chat,
            event_id=m.event_id,
            sequence=self._sequence,
            state=state,
            text=text,
        )
        await self._worker.client.publish(self._worker.names.live(m.channel, m.conversation), update.to_wire())
        await self._worker.client.flush()

    async def reply(self, text: str, kind: Literal["answer", "failure"] = "answer") -> None:
        """Make the final text durable."""
        m = self.message
        reply = Reply(
            id=self._reply,
            turn=self._turn,
            channel=m.channel,
            conversation=m.conversation,
            chat=m.chat,
            event_id=m.event_id,
            kind=kind,
            content=text,
            created_at=datetime.now(UTC),
        )
        subject = self._worker.names.outgoing(m.channel, m.conversation)
        await self._worker.publisher.publish(subject, reply.to_wire(), reply.id, deadline=10)


class Worker:
    """Reads stream IN entry by entry: what is in there, and how often, is what was accepted."""

    def __init__(self, client: Client, publisher: Publisher, names: Names, read: int) -> None:
        self.client = client
        self.publisher = publisher
        self.names = names
        self._began = read
        self._read = read

    async def next(self, seconds: float = SECONDS) -> Asked:
        """The next message of the stream."""
        until = time.monotonic() + seconds
        while True:
            try:
                entry = await self.client.jetstream().get_msg(self.names.in_stream, self._read + 1)
            except NotFoundError:
                pass
            except (NatsError, TimeoutError):  # the server is being restarted
                pass
            else:
                self._read += 1
                return Asked(self, Message.from_wire(entry.data or b""))
            if time.monotonic() > until:
                raise AssertionError(f"no message {self._read + 1} in stream IN within {seconds:g} s")
            await asyncio.sleep(0.01)

    async def transcribed(self) -> None:
        """Returns once stream WEB holds all that IN and OUT do: the server copies them a little later."""
        js = self.client.jetstream()
        async with asyncio.timeout(SECONDS):
            while True:
                web, *copied = [
                    (await js.stream_info(name)).state.messages
                    for name in (self.names.web_stream, self.names.in_stream, self.names.out_stream)
                ]
                if web >= sum(copied):
                    return
                await asyncio.sleep(0.01)

    async def accepted(self) -> int:
        """How many messages have come into stream IN since this worker began."""
        return (await self.client.jetstream().stream_info(self.names.in_stream)).state.last_seq - self._began


@asynccontextmanager
async def worker(nats: Nats, names: Names) -> AsyncIterator[Worker]:
    client = await connect(nats, "stand-in worker")
    publisher = Publisher(client)
    await publisher.start()
    try:
        state = (await client.jetstream().stream_info(names.in_stream)).state
        yield Worker(client, publisher, names, state.last_seq)
    finally:
        await publisher.stop()
        await client.close()


def events_of(raw: bytes) -> list[tuple[int | None, dict[str, object]]]:
    """Server-sent events as (place, event), leaving out a last one that is not complete."""
    found = []
    for block in raw.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((int(fields["id"]) if "id" in fields else None, json.loads(fields["data"])))
    return found
