"""The page's wire, without the page: what is asked for, what is sent, and when it ends."""

import asyncio
import json
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from herald_contracts import identity
from herald_contracts.subjects import Names
from herald_gateway.channels.web.transcript import SHOWN
from tests import servers
from tests.integration.web import stage
from tests.integration.web.stage import Gateway, Worker, events_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

Event = tuple[int | None, dict[str, Any]]


class Visitor:
    """Speaks to the gateway as the page's script does, over cookies of its own."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Gateway) -> None:
        self._http = http
        self._gateway = gateway

    async def begin(self) -> None:
        async with self._http.post(self._gateway.url + "session") as answer:
            assert answer.status == 200

    async def post(self, text: str, name: str = "", chat: str = "") -> tuple[int, dict[str, Any]]:
        body = {"id": name or secrets.token_hex(8), "chat": chat, "text": text}
        async with self._http.post(self._gateway.url + "events", json=body) as answer:
            return answer.status, await answer.json()

    @asynccontextmanager
    async def stream(
        self, *, chat: str = "", after: int = 0, headers: dict[str, str] | None = None
    ) -> AsyncIterator["Stream"]:
        address = f"{self._gateway.url}stream?chat={chat}&after={after}"
        async with self._http.get(address, headers=headers) as answer:
            yield Stream(answer)


class Stream:
    """Collects what one response has sent so far."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self._raw = b""

    @property
    def events(self) -> list[Event]:
        return events_of(self._raw)

    async def until(self, check: Callable[[list[Event]], bool], seconds: float = 30) -> list[Event]:
        async with asyncio.timeout(seconds):
            while not check(self.events):
                chunk = await self.answer.content.readany()
                assert chunk, f"the stream ended with {self.events[-3:]}"
                self._raw += chunk
        return self.events

    async def to_end(self, seconds: float = 30) -> list[Event]:
        async with asyncio.timeout(seconds):
            while chunk := await self.answer.content.readany():
                self._raw += chunk
        return self.events


def types(events: list[Event]) -> list[str]:
    return [event["type"] for _, event in events]


def caught_up(events: list[Event]) -> bool:
    return "caught-up" in types(events)


@asynccontextmanager
async def visiting(gateway: Gateway, *, begun: bool = True) -> AsyncIterator[Visitor]:
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    jar = aiohttp.CookieJar(unsafe=True)  # it is an IP address
    async with aiohttp.ClientSession(headers={"Origin": gateway.origin}, cookie_jar=jar, timeout=timeout) as http:
        visitor = Visitor(http, gateway)
        if begun:
            await visitor.begin()
        yield visitor


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(gateway: Gateway) -> AsyncIterator[Visitor]:
    async with visiting(gateway) as one:
        yield one


async def test_what_was_missed_comes_once(visitor: Visitor, worker: Worker) -> None:
    status, answer = await visitor.post("one", "first")
    assert status == 202
    asked = await worker.next()
    assert answer == {"accepted": True, "id": "first", "message": asked.message.id}
    await asked.reply("uno")
    await worker.transcribed()
    async with visitor.stream() as stream:
        events = await stream.until(caught_up)
        assert stream.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.answer.headers["cache-control"] == "no-store"
    assert types(events) == ["message", "reply", "caught-up"]
    assert events[1][1]["to"] == events[0][1]["id"] == "first"
    place = events[0][0]
    assert place is not None

    await visitor.post("two", "second")
    await (await worker.next()).reply("due")
    for again in (visitor.stream(after=place), visitor.stream(headers={"Last-Event-ID": str(place)})):
        async with again as stream:
            events = await stream.until(lambda events: types(events).count("reply") == 2)
            texts = [event["text"] for _, event in events if "text" in event]
            assert texts == ["uno", "two", "due"]
            places = [found for found, _ in events if found is not None]
            assert places == sorted(set(places))
            assert min(places) > place


async def test_the_same_post_again_is_the_same_message(visitor: Visitor, worker: Worker) -> None:
    first = await visitor.post("hello", "same")
    second = await visitor.post("hello", "same")
    assert first == second
    assert first[0] == 202
    assert await worker.accepted() == 1


async def test_two_sessions_with_the_same_names_do_not_meet(gateway: Gateway, worker: Worker) -> None:
    async with visiting(gateway) as one, visiting(gateway) as two:
        await one.post("mine", "same", "same")
        await two.post("theirs", "same", "same")
        assert await worker.accepted() == 2
        await worker.transcribed()
        for visitor, text in ((one, "mine"), (two, "theirs")):
            async with visitor.stream(chat="same") as stream:
                events = await stream.until(caught_up)
                assert [event["text"] for _, event in events if event["type"] == "message"] == [text]


async def test_nobody_reads_or_writes_without_a_session(gateway: Gateway) -> None:
    async with visiting(gateway, begun=False) as visitor:
        assert (await visitor.post("x"))[0] == 401
        async with visitor.stream() as stream:
            assert stream.answer.status == 401


async def test_a_long_conversation_begins_near_its_end(visitor: Visitor, worker: Worker) -> None:
    await visitor.post("first")
    message = (await worker.next()).message
    subject = worker.names.incoming(message.channel, message.conversation)
    more = SHOWN + 50
    for number in range(more):
        event = f"{message.sender.id}.n{number}"
        copy = message.model_copy(
            update={"id": identity.message_id("web", event), "event_id": event, "content": str(number)}
        )
        await worker.publisher.publish(subject, copy.to_wire(), copy.id, deadline=10)
    await worker.transcribed()
    async with visitor.stream() as stream:
        events = await stream.until(caught_up)
    assert [event["text"] for _, event in events[:-1]] == [str(number) for number in range(more - SHOWN, more)]
    assert events[-1][1] == {"type": "caught-up", "shortened": True}
    # Someone who was away for that long has a gap: the page must begin anew, and is told so.
    async with visitor.stream(after=1) as stream:
        events = await stream.until(caught_up)
    assert types(events)[0] == "reset"
    assert len(events) == SHOWN + 2


async def test_a_stream_made_anew_is_read_from_its_beginning(visitor: Visitor, worker: Worker) -> None:
    await visitor.post("one")
    await worker.transcribed()
    async with visitor.stream(after=1_000_000) as stream:
        events = await stream.until(caught_up)
    assert types(events) == ["reset", "message", "caught-up"]


async def test_a_slow_reader_gets_the_newest_and_no_backlog(visitor: Visitor, worker: Worker) -> None:
    await visitor.post("go")
    asked = await worker.next()
    filler = "word " * 5_000
    async with visitor.stream() as stream:
        await stream.until(caught_up)
        for number in range(400):
            await asked.show(f"{number} {filler}")
        await asked.reply("done")
        events = await stream.until(lambda events: "reply" in types(events))
    shown = types(events).count("live")
    assert 0 < shown < 100, "all 400 updates of 25 kB were kept for a page that did not read"


async def test_no_live_update_follows_its_reply(visitor: Visitor, worker: Worker) -> None:
    await visitor.post("one")
    asked = await worker.next()
    async with visitor.stream() as stream:
        await stream.until(caught_up)
        await asked.show("so far")
        await stream.until(lambda events: "live" in types(events))
        await asked.reply("done")
        await stream.until(lambda events: "reply" in types(events))
        await asked.show("a late word")
        await asyncio.sleep(0.3)  # longer than an update is held back: a wrong gateway has the time to send it
        await visitor.post("two")
        asked = await worker.next()
        # A worker may be quicker than the transcript: first the message, then what is written to it.
        await stream.until(lambda events: types(events).count("message") == 2)
        await asked.show("on its way")
        events = await stream.until(lambda events: types(events)[-1] == "live")
    assert [event["text"] for _, event in events if event["type"] == "live"] == ["so far", "on its way"]


async def test_entries_that_cannot_be_read_are_left_out(visitor: Visitor, worker: Worker) -> None:
    await visitor.post("one")
    asked = await worker.next()
    m = asked.message
    await worker.publisher.publish(worker.names.outgoing(m.channel, m.conversation), b"\xff not JSON", "x", deadline=5)
    await worker.client.publish(worker.names.live(m.channel, m.conversation), b"{}")
    await asked.reply("fine")
    await worker.transcribed()
    async with visitor.stream() as stream:
        events = await stream.until(caught_up)
    assert types(events) == ["message", "reply", "caught-up"]


async def test_a_page_that_leaves_takes_its_consumer_along(visitor: Visitor, worker: Worker) -> None:
    async def consumers() -> set[str | None]:
        return {info.name for info in await worker.client.jetstream().consumers_info(worker.names.web_stream)}

    before = await consumers()  # of earlier pages some may still be on their way out
    async with visitor.stream() as stream:
        await stream.until(caught_up)
        mine = await consumers() - before
        assert len(mine) == 1
    async with asyncio.timeout(10):
        while not mine.isdisjoint(await consumers()):
            await asyncio.sleep(0.02)


async def test_the_fifth_view_of_a_session_ends_the_first(visitor: Visitor) -> None:
    async with visitor.stream() as first:
        await first.until(caught_up)
        async with visitor.stream() as a, visitor.stream() as b, visitor.stream() as c, visitor.stream() as d:
            for stream in (a, b, c, d):
                await stream.until(caught_up)
            assert (await first.to_end())[-1][1] == {"type": "ending", "reason": "elsewhere"}
            assert all(types(stream.events)[-1] == "caught-up" for stream in (a, b, c, d))


async def test_a_draining_gateway_ends_its_streams_and_leaves(gateway: Gateway, visitor: Visitor) -> None:
    async with visitor.stream() as stream:
        await stream.until(caught_up)
        child = gateway._child
        assert child is not None
        child.send_signal(signal.SIGTERM)
        assert (await stream.to_end())[-1][1] == {"type": "ending", "reason": "leaving"}
        # Well inside the 20 s that a drain may take: no open page holds the gateway.
        assert await asyncio.to_thread(child.wait, 10) == 0


async def test_a_lost_nats_ends_streams_and_a_new_one_goes_on(own_nats: servers.Nats, tmp_path: Path) -> None:
    names = Names("test", "lost")
    gateway = Gateway(tmp_path / "gateway", own_nats.settings, names)
    try:
        async with (
            stage.deployed(own_nats.settings, names),
            stage.worker(own_nats.settings, names) as worker,
            visiting(gateway, begun=False) as visitor,
        ):
            gateway.start()
            await visitor.begin()
            await visitor.post("one")
            await worker.next()
            await worker.transcribed()
            async with visitor.stream() as stream:
                events = await stream.until(caught_up)
                place = events[0][0]
                own_nats.kill()
                assert (await stream.to_end())[-1][1] == {"type": "ending", "reason": "lost"}
            async with visitor.stream() as refused:
                assert refused.answer.status == 503
                assert json.loads(await refused.answer.read()) == {"error": "try_again"}
            await own_nats.restart()
            async with asyncio.timeout(30):
                while (await visitor.post("two", "second"))[0] != 202:
                    await asyncio.sleep(0.1)
            await (await worker.next()).reply("due")
            async with visitor.stream(after=place or 0) as stream:
                events = await stream.until(lambda events: "reply" in types(events))
                assert [event["text"] for _, event in events if "text" in event] == ["two", "due"]
    finally:
        gateway.stop()
