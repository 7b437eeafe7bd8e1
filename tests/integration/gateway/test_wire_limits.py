"""What a stranger may cost, byte by byte, over real sockets: the limits that sit below ASGI."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import uvloop
from opentelemetry import metrics
from starlette.types import Receive, Scope, Send

from herald_contracts.settings import Limits
from herald_gateway import protocol, serving
from herald_gateway.channels.base import TooLarge
from herald_gateway.limits import Connections, Memory
from herald_gateway.measurements import Measurements
from herald_gateway.refusals import Refusals
from herald_gateway.webhook import Disconnected, read_body, respond

HEAD = b"POST / HTTP/1.1\r\nHost: gateway.test\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\n{}"
DEADLINE = 20


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the size of the body, like a webhook route would refuse one that is too large."""
    try:
        body = await read_body(receive, 2_048, Memory().share())
    except Disconnected:
        return
    except TooLarge:
        await respond(send, 413, b"{}")
        return
    await respond(send, 200, str(len(body)).encode())


@dataclass
class Running:
    port: int
    connections: Connections
    measurements: Measurements

    def refused(self, reason: str) -> int:
        return self.measurements.refused.values["", reason]

    async def until(self, reason: str, count: int = 1) -> None:
        async with asyncio.timeout(DEADLINE):
            while self.refused(reason) < count:
                await asyncio.sleep(0.01)

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while self.connections.total != count:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def server(limits: Limits) -> AsyncIterator[Running]:
    measurements = Measurements(metrics.get_meter("test"))
    connections = Connections(limits)
    guarded = protocol.guarded(limits, connections, Refusals(measurements))
    sock = serving.listen("127.0.0.1", 0)
    uvicorn = serving.create(application, guarded, 1)
    task = asyncio.create_task(uvicorn.serve([sock]))
    try:
        async with asyncio.timeout(DEADLINE):
            while not uvicorn.started:
                await asyncio.sleep(0.01)
        yield Running(sock.getsockname()[1], connections, measurements)
    finally:
        uvicorn.begin_to_end()
        await task


class Caller:
    """A client that sends exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        # The other side may have had enough of us.
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def status(self) -> int:
        """The status of the next answer, its body read; 0 when the connection ends without one."""
        async with asyncio.timeout(DEADLINE):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            length = int(fields[b"content-length"])
            await self.reader.readexactly(length)
        return int(head.split(b" ")[1])

    async def ended(self) -> bool:
        """Waits until the other side has closed."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


@contextlib.asynccontextmanager
async def caller(port: int) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_good_request_and_another_on_the_same_connection() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
    async with server(Limits()) as running, caller(running.port) as client:
        for _ in range(3):
            await client.send(WHOLE)
            assert await client.status() == 200
        await client.send(WHOLE + WHOLE)
        assert [await client.status(), await client.status()] == [200, 200]
    assert dict(running.measurements.refused.values) == {}


async def test_a_request_in_small_pieces_within_its_time_is_fine() -> None:
    async with server(Limits()) as running, caller(running.port) as client:
        for n in range(len(WHOLE)):
            await client.send(WHOLE[n : n + 1])
            await asyncio.sleep(0)
        assert await client.status() == 200


async def test_a_silent_connection_is_ended() -> None:
    async with server(Limits(header_seconds=0.2)) as running, caller(running.port) as client:
        assert await client.status() == 408
        assert await client.ended()
        await running.until("slow_headers")


async def test_dripped_headers_are_ended_however_busy_they_look() -> None:
    async with server(Limits(header_seconds=0.3)) as running, caller(running.port) as client:
        await client.send(HEAD)
        drip = asyncio.create_task(_drip(client, b"X-Slow: 1\r\n"))
        assert await client.status() == 408
        drip.cancel()
        await running.until("slow_headers")


async def test_dripped_headers_of_a_second_request_are_ended_too() -> None:
    async with server(Limits(header_seconds=0.3)) as running, caller(running.port) as client:
        await client.send(WHOLE)
        assert await client.status() == 200
        await client.send(HEAD)
        drip = asyncio.create_task(_drip(client, b"X-Slow: 1\r\n"))
        assert await client.status() == 408
        drip.cancel()
        await running.until("slow_headers")


async def test_a_dripped_body_is_ended() -> None:
    async with server(Limits(body_seconds=0.3)) as running, caller(running.port) as client:
        await client.send(HEAD + b"Content-Length: 1000\r\n\r\n")
        drip = asyncio.create_task(_drip(client, b"x"))
        assert await client.status() == 408
        drip.cancel()
        await running.until("slow_body")


async def test_a_dripped_chunked_body_is_ended() -> None:
    async with server(Limits(body_seconds=0.3)) as running, caller(running.port) as client:
        await client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        drip = asyncio.create_task(_drip(client, b"1\r\nx\r\n"))
        assert await client.status() == 408
        drip.cancel()
        await running.until("slow_body")


async def test_a_caller_who_was_answered_may_not_go_on_sending_for_ever() -> None:
    async with server(Limits(body_seconds=0.3)) as running, caller(running.port) as client:
        await client.send(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 4_096)
        assert await client.status() == 413
        drip = asyncio.create_task(_drip(client, b"x"))
        assert await client.status() == 0  # no second answer, which would belong to no request
        drip.cancel()
        await running.until("slow_body")


async def _drip(client: Caller, piece: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await client.send(piece)
            await asyncio.sleep(0.03)


@pytest.mark.parametrize(
    "flood",
    [
        HEAD + b"X-Long: " + b"x" * 5_000 + b"\r\n\r\n",
        HEAD + b"X-Long: " + b"x" * 5_000,
        HEAD + b"X: y\r\n" * 1_000 + b"\r\n",
        b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"x" * 5_000,
        b"X" * 5_000,
    ],
)
async def test_headers_have_a_size(flood: bytes) -> None:
    async with server(Limits(header_bytes=2_048)) as running, caller(running.port) as client:
        await client.send(flood)
        assert await client.status() in (431, 400)
        assert await client.ended()
        assert sum(running.measurements.refused.values.values()) == 1


async def test_header_bytes_are_counted_over_many_small_pieces() -> None:
    async with server(Limits(header_bytes=2_048)) as running, caller(running.port) as client:
        await client.send(HEAD)
        for _ in range(400):
            await client.send(b"X-More: yyyyyyyy\r\n")
            await asyncio.sleep(0)
        assert await client.status() == 431
        assert running.refused("headers_too_large") == 1


async def test_megabytes_of_headers_are_not_taken_in() -> None:
    async with server(Limits()) as running, caller(running.port) as client:
        sending = asyncio.create_task(client.send(HEAD + b"X-Long: " + b"x" * 30_000_000))
        assert await client.status() in (431, 0)
        assert await client.ended()
        await sending
        assert running.refused("headers_too_large") == 1


async def test_headers_just_within_the_cap_are_fine() -> None:
    async with server(Limits(header_bytes=2_048)) as running, caller(running.port) as client:
        for _ in range(3):
            await client.send(HEAD + b"X-Long: " + b"x" * 1_900 + b"\r\nContent-Length: 2\r\n\r\n{}")
            assert await client.status() == 200
        await client.send(HEAD + b"X-Long: " + b"x" * 1_900 + b"\r\nContent-Length: 2000\r\n\r\n" + b"{" * 2_000)
        assert await client.status() == 200
        assert dict(running.measurements.refused.values) == {}


@pytest.mark.parametrize(
    "request_",
    [
        b"NONSENSE\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Content-Length: -2\r\n\r\n{}",
        HEAD + b"Content-Length: 2\n\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}X",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST http://[bad HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT other.test:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_not_http_is_a_400(request_: bytes) -> None:
    async with server(Limits()) as running, caller(running.port) as client:
        await client.send(request_)
        assert await client.status() == 400
        assert await client.ended()
        assert running.refused("invalid_http") == 1


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_gets_its_answer(chunked: bool) -> None:
    async with server(Limits()) as running, caller(running.port) as client:
        if chunked:
            await client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4_096 + b"\r\n")
        else:
            await client.send(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 4_096)
        assert await client.status() == 413


async def test_connections_per_address_are_capped() -> None:
    async with server(Limits(connections_per_address=2)) as running, contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(caller(running.port))
        await stack.enter_async_context(caller(running.port))
        await running.until_open(2)
        async with caller(running.port) as third:
            assert await third.status() == 429
            assert await third.ended()
        assert running.refused("connections_per_address") == 1
        first.writer.close()
        await running.until_open(1)
        async with caller(running.port) as fourth:
            await fourth.send(WHOLE)
            assert await fourth.status() == 200


async def test_connections_in_all_are_capped() -> None:
    async with server(Limits(connections=1)) as running, caller(running.port) as first:
        await first.send(WHOLE)
        assert await first.status() == 200
        async with caller(running.port) as second:
            assert await second.status() == 503
        assert running.refused("connections") == 1
        await first.send(WHOLE)
        assert await first.status() == 200


async def test_refused_connections_are_counted_out_again() -> None:
    async with server(Limits(header_bytes=1_024)) as running:
        for _ in range(20):
            async with caller(running.port) as client:
                await client.send(b"X" * 2_000)
                await client.ended()
        await running.until_open(0)


async def test_an_upgrade_is_answered_as_the_request_it_is() -> None:
    async with server(Limits()) as running, caller(running.port) as client:
        await client.send(HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}")
        assert await client.status() == 200
        assert await client.ended()


async def test_expect_100_continue_is_honoured() -> None:
    async with server(Limits()) as running, caller(running.port) as client:
        await client.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"{}")
        assert await client.status() == 200


async def test_a_reader_that_stops_reading_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "STALL_SECONDS", 0.2)

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not running.refused("slow_reader"):
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})

    monkeypatch.setattr("tests.integration.gateway.test_wire_limits.application", endless)
    async with server(Limits()) as running, caller(running.port) as client:
        await client.send(WHOLE)
        await running.until("slow_reader")
        await running.until_open(0)


async def test_only_some_requests_may_wait_in_line() -> None:
    async with server(Limits()) as running, caller(running.port) as client:
        await client.send(WHOLE * 10)
        assert [await client.status() for _ in range(10)] == [200] * 10
        await client.send(WHOLE * 100)
        assert await client.ended()
        assert running.refused("pipelined") == 1
