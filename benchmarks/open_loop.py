"""The load client for end-to-end times: sends on a fixed schedule and receives the replies, in one process.

Open loop: message number n is due at start + n / rate whether or not earlier ones were answered, and its time runs
from when it was due. So a stall is paid by every message it delayed, as people would feel it.
It is also the outside ledger: which events got a 2xx, which got a reply, which got two.

Protocol with who starts it: first line in is the settings (JSON, holds the secret), answered by "ready"; each
further line is an Order, answered by a result line. It ends when its input ends.
"""

import asyncio
import dataclasses
import gc
import json
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import uvloop

from benchmarks import requests
from benchmarks.closed_loop import answer_end
from benchmarks.figures import latency, percentile
from benchmarks.processes import report

MOST_CONNECTIONS = 128
clock = time.perf_counter  # uvloop's own clock has steps of a millisecond


@dataclass(frozen=True, slots=True)
class Order:
    """One stretch of load. `text` may hold `{n}`. Message n is in conversation n * `stride` of `conversations`.

    After the last message replies are waited for until all came, at most `drain` seconds, and no longer than `quiet`
    seconds after the newest one: a backlog that is being worked off is late and not lost. Then `settle` seconds
    more: a second reply would come soon after the first.
    """

    rate: float
    seconds: float
    salt: str
    text: str
    conversations: int = 200
    stride: int = 1
    drain: float = 180
    quiet: float = 45
    settle: float = 1.0
    port: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What came of an Order. Milliseconds; `late` is how far our own sending was behind its schedule (P99).

    `silence` is the longest time between two replies, from the first to the last.
    """

    sent: int
    accepted: int
    statuses: dict[str, int]
    answered: int
    failures: int
    lost: int
    doubled: int
    strangers: int
    seconds: float
    ack_p50: float
    ack_p99: float
    p50: float
    p99: float
    highest: float
    silence: float
    late: float
    busy: float
    replies_per_second: float


@dataclass(slots=True)
class Ledger:
    """Per event: when it was due, what it was answered, when its first reply came. Seconds of `clock`."""

    due: dict[str, float] = field(default_factory=dict)
    accepted: dict[str, float] = field(default_factory=dict)
    replied: dict[str, float] = field(default_factory=dict)
    posts: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    strangers: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)

    def reply(self, body: bytes, at: float) -> None:
        told = json.loads(body)
        event = told["event"]
        if event not in self.due:
            self.strangers += 1
            return
        self.posts[event] += 1
        if told["kind"] != "answer":
            self.failures += 1
        self.replied.setdefault(event, at)

    @property
    def open(self) -> int:
        return sum(event not in self.replied for event in self.accepted)

    def judge(self, seconds: float, busy: float, now: float) -> Stretch:
        """A message that was accepted and never answered counts with the time it has waited until `now`, at least."""
        waits = [self.replied.get(event, now) - self.due[event] for event in self.accepted | self.replied]
        acks = [at - self.due[event] for event, at in self.accepted.items()]
        times = latency(waits) if waits else None
        # From the first message to the last reply: at a rate that cannot be kept up, the rate that can.
        heard = sorted(self.replied.values())
        span = max(self.replied.values(), default=0) - min(self.due.values(), default=0)
        return Stretch(
            sent=len(self.due),
            accepted=len(self.accepted),
            statuses=dict(self.statuses),
            answered=len(self.replied) - self.failures,
            failures=self.failures,
            lost=self.open,
            doubled=sum(count > 1 for count in self.posts.values()),
            strangers=self.strangers,
            seconds=seconds,
            ack_p50=percentile(acks, 50) * 1e3 if acks else 0,
            ack_p99=percentile(acks, 99) * 1e3 if acks else 0,
            p50=times.p50 if times else 0,
            p99=times.p99 if times else 0,
            highest=times.highest if times else 0,
            silence=max((after - before for before, after in pairwise(heard)), default=0) * 1e3,
            late=percentile(self.late, 99) * 1e3 if self.late else 0,
            busy=busy,
            replies_per_second=len(self.replied) / span if span > 0 else 0,
        )


class Connection(asyncio.Protocol):
    """One keep-alive connection to the webhook, one request at a time."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._partial = b""
        self.event: str | None = None
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self.transport = cast(asyncio.WriteTransport, transport)

    def send(self, event: str, request: bytes) -> None:
        assert self.transport is not None
        self.event = event
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        data = self._partial + data
        end = answer_end(data)
        if end is None:
            self._partial = data
            return
        self._partial = data[end:]
        self._client.answered(self, data[9:12].decode("ascii", "replace"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.gone(self)


class Client:
    def __init__(self, port: int) -> None:
        self._port = port
        self._free: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self.ledger = Ledger()

    async def open(self, count: int) -> None:
        for _ in range(count):
            await self._connect()

    async def _connect(self) -> Connection:
        _, made = await asyncio.get_running_loop().create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        self._all.add(made)
        self._free.append(made)
        return made

    async def send(self, event: str, request: bytes) -> None:
        while not self._free:
            if len(self._all) < MOST_CONNECTIONS:
                await self._connect()
            else:
                await asyncio.sleep(0.001)
        self._free.popleft().send(event, request)

    def answered(self, connection: Connection, status: str) -> None:
        self.ledger.statuses[status] += 1
        if connection.event is not None and status.startswith("2"):
            self.ledger.accepted[connection.event] = clock()
        connection.event = None
        self._free.append(connection)

    def gone(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection.event is not None:
            self.ledger.statuses["connection lost"] += 1
        if connection in self._free:
            self._free.remove(connection)

    def close(self) -> None:
        for connection in list(self._all):
            if connection.transport is not None:
                connection.transport.close()


class Inbox(asyncio.Protocol):
    """The platform's side: takes every reply, notes when its last byte came, says 200."""

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk
        self._partial = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        data = self._partial + data
        while (end := answer_end(data)) is not None:
            body = data[data.find(b"\r\n\r\n") + 4 : end]
            self._desk.ledger.reply(body, clock())
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            data = data[end:]
        self._partial = data


@dataclass(slots=True)
class Desk:
    """Where replies are noted now: the ledger of the stretch that runs."""

    ledger: Ledger = field(default_factory=Ledger)


async def stretch(order: Order, desk: Desk, secret: bytes) -> Stretch:
    """Send, wait for the replies, judge."""
    client = Client(order.port)
    desk.ledger = client.ledger
    count = max(1, round(order.rate * order.seconds))
    now = int(time.time())
    prepared = []
    for n in range(count):
        chat = n * order.stride % order.conversations
        event = f"{order.salt}-{n}"
        body = requests.herald_body(
            event, conversation=f"chat-{chat}", sender=f"user-{chat}", text=order.text.replace("{n}", str(n))
        )
        prepared.append((event, requests.herald_request(order.path, body, secret=secret, now=now)))
    await client.open(16)
    gc.collect()
    cpu, begin = time.process_time(), clock()
    for n, (event, request) in enumerate(prepared):
        due = begin + n / order.rate
        wait = due - clock()
        if wait > 0:
            await asyncio.sleep(wait)
        client.ledger.due[event] = due
        await client.send(event, request)
        client.ledger.late.append(clock() - due)
    took, cpu = clock() - begin, time.process_time() - cpu
    ledger = client.ledger
    await _drained(ledger, count, order)
    await asyncio.sleep(order.settle)
    client.close()
    return ledger.judge(took, cpu / took, clock())


async def _drained(ledger: Ledger, count: int, order: Order) -> None:
    deadline = clock() + order.drain
    newest, seen = clock(), len(ledger.replied)
    while ledger.open or sum(ledger.statuses.values()) < count:
        await asyncio.sleep(0.02)
        if len(ledger.replied) != seen:
            newest, seen = clock(), len(ledger.replied)
        if clock() > deadline or clock() > newest + order.quiet:
            return


async def serve() -> None:
    loop = asyncio.get_running_loop()
    lines: asyncio.StreamReader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    given = json.loads(await lines.readline())
    desk = Desk()
    server = await loop.create_server(lambda: Inbox(desk), "127.0.0.1", given["reply_port"])
    report("ready")
    while line := await lines.readline():
        outcome = await stretch(Order(**json.loads(line)), desk, given["secret"].encode())
        report(dataclasses.asdict(outcome))
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
