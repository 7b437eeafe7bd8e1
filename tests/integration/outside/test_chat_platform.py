"""The chat platform of the end-to-end tests, run by a Python that has nothing installed: it decides what is counted."""

import asyncio
import base64
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from herald_gateway.channels.hmac import sign
from tests.fakes.callback import Receiver

SCRIPT = Path(__file__).parents[2] / "e2e" / "chat_platform.py"
MOST_BODY = 4 * 2**20


@contextlib.contextmanager
def running(gateway: str) -> Iterator[int]:
    """Its port."""
    # -I -S: no packages, no folder of ours.
    command = [sys.executable, "-I", "-S", str(SCRIPT), "--port=0", f"--gateway={gateway}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as said:
        try:
            yield int(said.readline().rpartition(" ")[2])
        finally:
            process.terminate()
            process.wait()


def unused() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@pytest.fixture
def platform() -> Iterator[str]:
    """With no gateway behind it."""
    with running(f"http://127.0.0.1:{unused()}") as port:
        yield f"http://127.0.0.1:{port}"


async def _all(http: aiohttp.ClientSession, url: str) -> list[bytes]:
    bodies: list[bytes] = []
    while True:
        async with http.get(f"{url}/posts", params={"after": str(len(bodies))}) as answer:
            page = await answer.json()
        if not page["posts"]:
            return bodies
        bodies += [base64.b64decode(post["body"]) for post in page["posts"]]
        assert page["next"] == len(bodies)


async def test_every_post_is_kept_as_it_was_in_its_order(http: aiohttp.ClientSession, platform: str) -> None:
    sent = [bytes([n % 256, 0, 255]) * (1 + 40_000 * (n % 2)) for n in range(60)]
    for n, body in enumerate(sent):
        async with http.post(f"{platform}/replies", data=body, headers={"Herald-Reply-Id": f"r{n}"}) as answer:
            assert answer.status == 200
    assert await _all(http, platform) == sent, "in several pages"
    async with http.get(f"{platform}/posts?after=59") as answer:
        (last,) = (await answer.json())["posts"]
    assert ["Herald-Reply-Id", "r59"] in last["headers"]


async def test_many_at_once_are_all_kept(http: aiohttp.ClientSession, platform: str) -> None:
    async def send(n: int) -> int:
        async with http.post(f"{platform}/replies", data=str(n).encode()) as answer:
            return answer.status

    assert set(await asyncio.gather(*map(send, range(200)))) == {200}
    assert sorted(await _all(http, platform)) == sorted(str(n).encode() for n in range(200))


async def test_a_reader_waits_for_the_next_post(http: aiohttp.ClientSession, platform: str) -> None:
    async def read() -> int:
        async with http.get(f"{platform}/posts?after=0&wait=10") as answer:
            return len((await answer.json())["posts"])

    reading = asyncio.create_task(read())
    began = time.monotonic()
    async with http.post(f"{platform}/replies", data=b"x"):
        pass
    assert await reading == 1
    assert time.monotonic() - began < 5


async def test_what_was_fetched_is_checked_as_what_arrived(http: aiohttp.ClientSession, platform: str) -> None:
    """The record of a receiver that listens nowhere: the signature is over the body and headers as they were."""
    secret, body, now = b"0123456789abcdef", b'{"event":"e","text":"\xc3\xa4"}', str(int(time.time()))
    good = {"Herald-Timestamp": now, "Herald-Signature": sign(secret, now, body), "Herald-Reply-Id": "r"}
    receiver = Receiver(secret)
    for headers in (good, {**good, "Herald-Signature": "v1=00"}, good):
        async with http.post(f"{platform}/replies", data=body, headers=headers):
            pass
    async with http.get(f"{platform}/posts") as answer:
        for post in (await answer.json())["posts"]:
            await receiver.take(dict(post["headers"]), base64.b64decode(post["body"]))
    assert [post.signed for post in receiver.posts] == [True, False, True]
    assert (receiver.posts[0].event, receiver.replies()) == ("e", {"r": 3})


@contextlib.asynccontextmanager
async def gateway(seen: list[tuple[str, bytes, dict[str, str]]], status: int) -> AsyncIterator[str]:
    async def receive(request: web.Request) -> web.Response:
        seen.append((request.path_qs, await request.read(), dict(request.headers)))
        return web.json_response({"said": "so"}, status=status)

    app = web.Application(client_max_size=2 * MOST_BODY)
    app.router.add_post("/{path:.*}", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [202, 401, 413, 503])
async def test_a_message_is_passed_on_and_its_answer_back(http: aiohttp.ClientSession, status: int) -> None:
    seen: list[tuple[str, bytes, dict[str, str]]] = []
    async with gateway(seen, status) as url:
        with running(url) as port:
            there = f"http://127.0.0.1:{port}/gateway/channels/hooks/events?a=b"
            async with http.post(there, data=b"\x00raw", headers={"Herald-Signature": "v1=1"}) as answer:
                assert (answer.status, await answer.json()) == (status, {"said": "so"})
    ((path, body, headers),) = seen
    assert (path, body) == ("/channels/hooks/events?a=b", b"\x00raw")
    assert headers["Herald-Signature"] == "v1=1"
    assert headers["Host"] == url.removeprefix("http://")


async def test_502_where_the_gateway_is_away(http: aiohttp.ClientSession, platform: str) -> None:
    async with http.post(f"{platform}/gateway/channels/hooks/events", data=b"x") as answer:
        assert answer.status == 502
    assert await _all(http, platform) == []


async def test_502_where_the_gateway_breaks_off(http: aiohttp.ClientSession) -> None:
    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server:
        with running(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as port:
            async with http.post(f"http://127.0.0.1:{port}/gateway/x", data=b"x") as answer:
                assert answer.status == 502


def _raw(url: str, *parts: bytes) -> bytes:
    """What is answered to these bytes, read to the end; a connection that is reset raises."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
        return answer


def _head(length: object) -> bytes:
    return f"POST /replies HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def test_sizes_have_limits_and_nobody_is_cut_off(platform: str) -> None:
    """A reset would end the port-forward, and with it every other connection of the test."""
    most = _raw(platform, _head(MOST_BODY), b"x" * MOST_BODY)
    assert most.startswith(b"HTTP/1.1 200 ")
    more = _raw(platform, _head(MOST_BODY + 1), *[b"x" * 65_536] * 64, b"x")
    assert more.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in more
    for length in ("-1", "many", "²"):
        assert _raw(platform, _head(length), b"x" * 100_000).startswith(b"HTTP/1.1 411 "), length
    chunked = b"POST /replies HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    assert _raw(platform, chunked).startswith(b"HTTP/1.1 411 ")


async def test_half_a_post_is_no_post(http: aiohttp.ClientSession, platform: str) -> None:
    assert _raw(platform, _head(10), b"half") == b""
    assert await _all(http, platform) == []


async def test_other_paths_and_methods_are_refused(http: aiohttp.ClientSession, platform: str) -> None:
    for method, path, status in (
        ("POST", "/", 404), ("POST", "/gateway", 404), ("GET", "/replies", 404), ("GET", "/posts?after=x", 400),
        ("PUT", "/replies", 501), ("GET", "/healthz", 200),
    ):  # fmt: skip
        async with http.request(method, f"{platform}{path}", data=b"x" if method != "GET" else None) as answer:
            assert answer.status == status, (method, path)
    assert await _all(http, platform) == []
