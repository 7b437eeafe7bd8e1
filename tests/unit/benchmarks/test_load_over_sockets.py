"""The load clients over real sockets, against a server in this process whose misdeeds are known."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.closed_loop import build, load
from benchmarks.open_loop import Desk, Inbox, Order, stretch

SECRET = b"key"


class Platform:
    """Answers webhooks with `statuses` in turn (202 when they are used up) and posts replies as `copies` says."""

    def __init__(
        self, reply_port: int = 0, statuses: tuple[int, ...] = (), copies: dict[int, int] | None = None
    ) -> None:
        self._reply_port = reply_port
        self._statuses = list(statuses)
        self._copies = copies or {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.seen: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                event = json.loads(await reader.readexactly(length))["id"]
                self.seen.append(event)
                status = self._statuses.pop(0) if self._statuses else 202
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}".encode())
                for _ in range(self._copies.get(len(self.seen) - 1, 1) if status == 202 and self._reply_port else 0):
                    task = asyncio.create_task(self._reply(event))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        except asyncio.IncompleteReadError:
            writer.close()

    async def end(self) -> None:
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()
        await asyncio.gather(*self._tasks)

    async def _reply(self, event: str) -> None:
        body = json.dumps({"event": event, "kind": "answer"}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._reply_port)
        writer.write(f"POST /replies HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def listening(platform: Platform) -> AsyncIterator[int]:
    server = await asyncio.start_server(platform.serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await platform.end()


@asynccontextmanager
async def inbox(desk: Desk) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(lambda: Inbox(desk), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def order(port: int, count: int, **changes: float) -> Order:
    settings = {"drain": 10.0, "quiet": 0.3, "settle": 0.05} | changes
    return Order(500, count / 500, "s", "text {n}", port=port, path="/events", **settings)  # type: ignore[arg-type]


async def test_open_loop_finds_what_was_refused_lost_and_doubled() -> None:
    desk = Desk()
    async with inbox(desk) as reply_port:
        platform = Platform(reply_port, statuses=(202, 503, 202), copies={0: 0, 5: 2})
        async with listening(platform) as port:
            seen = await stretch(order(port, 20), desk, SECRET)
    assert (seen.sent, seen.accepted, seen.statuses) == (20, 19, {"202": 19, "503": 1})
    assert (seen.answered, seen.lost, seen.doubled, seen.strangers) == (18, 1, 1, 0)
    assert 0 < seen.p50 <= seen.p99 <= seen.highest


async def test_open_loop_is_done_as_soon_as_all_is_answered() -> None:
    desk = Desk()
    async with inbox(desk) as reply_port, listening(Platform(reply_port)) as port:
        # Waiting for the end of `drain` would run into the test's own limit.
        seen = await stretch(order(port, 20, drain=600, quiet=600), desk, SECRET)
    assert (seen.answered, seen.lost, seen.doubled) == (20, 0, 0)


async def test_a_second_stretch_counts_the_stragglers_of_the_first_as_strangers() -> None:
    desk = Desk()
    async with inbox(desk) as reply_port, listening(Platform(reply_port)) as port:
        await stretch(order(port, 5), desk, SECRET)
        late = asyncio.create_task(Platform(reply_port)._reply("s-from-before"))
        seen = await stretch(order(port, 5, settle=0.2), desk, SECRET)
        await late
    assert (seen.answered, seen.strangers) == (5, 1)


async def test_closed_loop_sends_each_request_once_over_all_connections() -> None:
    platform = Platform(statuses=(401,))
    prepared = build("herald", 200, path="/events", secret=SECRET, now=1_763_800_000, salt="s")
    async with listening(platform) as port:
        seen = await asyncio.to_thread(load, "127.0.0.1", port, prepared, connections=8, seconds=30)
    assert sorted(platform.seen) == sorted(f"s-{n}" for n in range(200))
    assert (seen.answered, seen.unanswered, seen.by_status) == (200, 0, {"401": 1, "202": 199})
    assert seen.rate > 0
    assert seen.busy > 0


async def test_closed_loop_stops_when_its_time_is_up() -> None:
    platform = Platform()
    prepared = build("herald", 50, path="/events", secret=SECRET, now=1_763_800_000, salt="s")
    async with listening(platform) as port:
        seen = await asyncio.to_thread(load, "127.0.0.1", port, prepared, connections=4, seconds=0)
    # Each connection has begun one, and none a second.
    assert seen.answered == 4
