"""Everything around the workers, as a gateway and a platform would be: what they accept, and what arrives.

Its own record of what was sent and what came out of the OUT stream is the witness; nothing that a worker says about
itself is believed here.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from herald_contracts.identity import reply_id, turn_id
from herald_contracts.messages import LiveUpdate, Message, Receipt, Reply
from herald_contracts.settings import AgentSettings, Nats
from herald_contracts.subjects import Names
from herald_runtime.acks import Publisher
from herald_runtime.connection import connect, disconnect
from herald_runtime.pulling import ConsumerGone, Puller
from tests.unit.agent.values import message
from tests.waiting import eventually

_ROOT = Path(__file__).parents[3]


class Worker:
    """One worker process."""

    def __init__(self, folder: Path, settings: AgentSettings, name: str) -> None:
        self._settings = folder / f"{name}.json"
        self._settings.write_text(settings.model_dump_json())
        self.log = folder / f"{name}.log"
        self.arguments: tuple[str, ...] = ()
        self.environment: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, at: str | None = None, nth: int = 1) -> Self:
        """Start it; `at` and `nth` say where it shall die."""
        arguments = [*self.arguments, *(["--at", at, "--nth", str(nth)] if at else [])]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.agent.crashing", "--settings", self._settings, *arguments],
                cwd=_ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
            )
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code once it has ended; minus the signal that ended it."""
        return self._process.poll() if self._process is not None else None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def said(self, event: str) -> bool:
        return any(line.get("event") == event for line in self.lines())

    async def started(self) -> Self:
        await eventually(lambda: self.said("started") or self.code is not None, within=30, what="worker to start")
        assert self.code is None, self.log.read_text()
        return self

    @property
    def port(self) -> int:
        return next(int(line["health_port"]) for line in self.lines() if line.get("event") == "started")

    async def get(self, path: str) -> tuple[int, str]:
        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as e:
                return e.code, e.read().decode()

        return await asyncio.to_thread(ask)

    async def ended(self, within: float = 30) -> int:
        await eventually(lambda: self.code is not None, within=within, what="worker to end")
        assert self.code is not None
        return self.code

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


class Outside:
    """Sends messages, delivers replies, keeps the record."""

    def __init__(self, client: Client, names: Names) -> None:
        self.client = client
        self.names = names
        self.publisher = Publisher(client)
        self.sent: dict[str, list[str]] = defaultdict(list)  # conversation -> turns, in order
        self.replies: list[Reply] = []  # as the OUT stream has them
        self.live: list[LiveUpdate] = []
        self.delivering = True
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: set[str] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def around(cls, nats: Nats, names: Names) -> AsyncIterator[Self]:
        client = await connect(nats, "outside")
        outside = cls(client, names)
        await outside.publisher.start()

        async def heard(msg: Any) -> None:
            outside.live.append(LiveUpdate.from_wire(msg.data))

        await client.subscribe(names.live_of("hmac"), cb=heard)
        outside._tasks = [asyncio.create_task(outside._deliver())]
        try:
            yield outside
        finally:
            for task in outside._tasks:
                task.cancel()
            await asyncio.gather(*outside._tasks, return_exceptions=True)
            await disconnect(client)  # its server may be gone

    async def send(self, event: str, **fields: Any) -> Message:
        """Until it is durable, as a platform's retries would."""
        written = message(event, received_at=datetime.now(UTC), **fields)
        subject = self.names.incoming(written.channel, written.conversation)

        async def stored() -> bool:
            try:
                await self.publisher.publish(subject, written.to_wire(), written.id, deadline=2)
            except Exception:
                return False
            return True

        await eventually(stored, within=60, what="the message to be accepted")
        if written.kind == "message":
            self.sent[written.conversation].append(turn_id(written.id))
        return written

    async def put(self, data: bytes, message_id: str) -> None:
        """Anything at all into the IN stream."""
        await self.publisher.publish(self.names.incoming("hmac", "any"), data, message_id, deadline=5)

    @property
    def expected(self) -> set[str]:
        return {reply_id(turn) for turns in self.sent.values() for turn in turns}

    async def all_answered(self, within: float = 30) -> None:
        """Every accepted message has its reply in OUT; then nothing more comes."""
        await eventually(
            lambda: self.expected <= {reply.id for reply in self.replies},
            within=within,
            what=f"{len(self.expected)} replies",
        )

    async def all_answered_in(self, *events: str) -> None:
        """These events have a reply in OUT."""
        await eventually(
            lambda: set(events) <= {r.event_id for r in self.replies}, within=30, what=f"replies to {events}"
        )

    async def receipts_read(self, within: float = 20) -> None:
        """Every receipt has been recorded and acknowledged by a worker."""
        js = self.client.jetstream()

        async def none_left() -> bool:
            info = await js.consumer_info(self.names.receipt_stream, self.names.receipts)
            return bool(info.num_pending == 0 and info.num_ack_pending == 0)

        await eventually(none_left, within=within, what="receipts to be read")

    def judge(self) -> None:
        """Each accepted message has exactly one reply, each conversation's replies are in its order."""
        ids = [reply.id for reply in self.replies]
        assert sorted(ids) == sorted(set(ids)), "a reply is in OUT twice"
        assert set(ids) == self.expected, "lost or unasked"
        for conversation, turns in self.sent.items():
            answered = [reply.turn for reply in self.replies if reply.conversation == conversation]
            assert answered == turns, "order"

    async def _deliver(self) -> None:
        js = self.client.jetstream()
        while True:
            name = f"outside-{len(self.replies)}-{id(self)}"
            with contextlib.suppress(Exception):
                await js.add_consumer(
                    self.names.out_stream,
                    ConsumerConfig(
                        name=name,
                        deliver_policy=DeliverPolicy.ALL,
                        ack_policy=AckPolicy.NONE,
                        inactive_threshold=30,
                        mem_storage=True,
                    ),
                )
                async with Puller(self.client, self.names.out_stream, name) as puller:
                    with contextlib.suppress(ConsumerGone):
                        async for msg in puller:
                            await self._received(msg.metadata.sequence.stream, Reply.from_wire(msg.data))
            await asyncio.sleep(0.1)

    async def _received(self, sequence: int, reply: Reply) -> None:
        place = str(sequence)
        if place not in self._seen:
            self._seen.add(place)
            self.replies.append(reply)
        if self.delivering:
            await self.receipt(reply, "sent")

    async def receipt(self, reply: Reply, outcome: Any, **fields: Any) -> None:
        receipt = Receipt(
            reply=reply.id,
            channel=reply.channel,
            conversation=reply.conversation,
            outcome=outcome,
            platform_message_id=f"om-{reply.id}" if outcome == "sent" else "",
            at=datetime.now(UTC),
            **fields,
        )
        await self.publisher.publish(
            self.names.receipt(reply.channel, reply.conversation),
            receipt.to_wire(),
            f"{reply.id}:{outcome}",
            deadline=5,
        )
