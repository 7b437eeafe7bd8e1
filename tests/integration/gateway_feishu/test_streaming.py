"""Cards that grow, over a real NATS, with several gateways at once and the final text always last."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from nats.aio.client import Client

from herald_contracts import identity
from herald_contracts.messages import LiveUpdate, Reply
from herald_contracts.settings import FeishuChannel as FeishuSettings
from herald_contracts.settings import Limits
from herald_contracts.subjects import Names
from herald_gateway.channels.base import ChannelContext, ChannelDown
from herald_gateway.channels.feishu import cards, delivery, records, render, streaming
from herald_gateway.channels.feishu.channel import FeishuChannel, create
from herald_gateway.channels.feishu.pace import PER_CHAT
from herald_runtime.acks import Publisher
from herald_runtime.connection import connect
from tests import servers
from tests.fakes.feishu import Feishu, Shown, Trouble, refusal, too_fast

QUESTION = "om_question"


@dataclass
class Turn:
    """One turn, as the worker sees it."""

    names: Names
    worker: Client
    number: int = 0
    sequence: int = 0

    @property
    def reply_id(self) -> str:
        return identity.reply_id(identity.turn_id(f"m{self.number}"))

    @property
    def conversation(self) -> str:
        return identity.conversation_id("feishu", f"oc_{self.number}", None)

    async def says(self, text: str) -> None:
        """Publish what the model has written so far."""
        self.sequence += 1
        update = LiveUpdate(
            turn=f"t{self.number}",
            reply=self.reply_id,
            channel="feishu",
            conversation=self.conversation,
            chat=f"oc_{self.number}",
            reply_to=QUESTION,
            event_id=QUESTION,
            sequence=self.sequence,
            state="streaming" if text else "started",
            text=text,
        )
        await self.worker.publish(self.names.live("feishu", self.conversation), update.to_wire())
        await self.worker.flush()

    def final(self, text: str) -> Reply:
        return Reply(
            id=self.reply_id,
            turn=f"t{self.number}",
            channel="feishu",
            conversation=self.conversation,
            chat=f"oc_{self.number}",
            reply_to=QUESTION,
            event_id=QUESTION,
            content=text,
            created_at=datetime.now(UTC),
        )


@dataclass
class Gateway:
    """One gateway replica's Feishu channel."""

    channel: FeishuChannel
    client: Client

    @property
    def streamer(self) -> streaming.Streamer:
        assert self.channel._streamer is not None
        return self.channel._streamer


@asynccontextmanager
async def gateway(nats: servers.Nats, names: Names, folder: Path, url: str) -> AsyncIterator[Gateway]:
    secret = folder / "secret"
    secret.mkdir(exist_ok=True)
    for key in ("app-secret", "encrypt-key", "verification-token"):
        (secret / key).write_text(key)
    channel = create(FeishuSettings(name="feishu", secret=secret, app_id="cli_herald", base_url=url))
    client = await connect(nats.settings, "gateway")
    publisher = Publisher(client)
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            await channel.start(ChannelContext(http, client, names, publisher, Limits(), 2.5, asyncio.Event()))
            await client.flush()
            try:
                yield Gateway(channel, client)
            finally:
                await channel.stop()
    finally:
        await client.close()


@dataclass
class Stage:
    feishu: Feishu
    turn: Turn
    first: Gateway
    second: Gateway

    def only(self) -> Shown:
        (message,) = self.feishu.messages
        return message

    async def growing(self, text: str = "half of") -> Gateway:
        """Stream until the card shows `text`; returns the gateway that does it."""
        await self.turn.says(text)
        await self.feishu.until(lambda: any(m.text == text for m in self.feishu.messages))
        # The other one may still be about to find that the card is taken.
        await _eventually(lambda: bool(self.first.streamer._growing) != bool(self.second.streamer._growing))
        return self.first if self.first.streamer._growing else self.second

    def other(self, one: Gateway) -> Gateway:
        return self.second if one is self.first else self.first


@pytest.fixture
async def stage(nats: servers.Nats, deployment: Names, tmp_path: Path) -> AsyncIterator[Stage]:
    """Two gateways, a worker and Feishu."""
    async with AsyncExitStack() as stack:
        feishu = await stack.enter_async_context(Feishu())
        worker = await connect(nats.settings, "worker")
        stack.push_async_callback(worker.close)
        first = await stack.enter_async_context(gateway(nats, deployment, tmp_path, feishu.url))
        second = await stack.enter_async_context(gateway(nats, deployment, tmp_path, feishu.url))
        yield Stage(feishu, Turn(deployment, worker), first, second)


@pytest.fixture
def _short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which a gateway falls silent: nobody waits eight seconds."""
    for module in (streaming, delivery):
        monkeypatch.setattr(module, "LEASE", 1.0)
        monkeypatch.setattr(module, "LATE", 0.2)
    for name in ("UPDATE_SECONDS", "CREATE_SECONDS", "_MARGIN"):
        monkeypatch.setattr(streaming, name, 0.1)


async def test_a_card_grows_and_ends(stage: Stage) -> None:
    await stage.turn.says("")
    await stage.feishu.until(lambda: len(stage.feishu.messages) == 1)
    for text in ("The", "The answer", "The answer is"):
        await stage.growing(text)
        assert stage.only().growing
    delivered = await stage.first.channel.send(stage.turn.final("The answer is 42."), 1)
    message = stage.only()
    assert (message.message_id, message.text, message.growing) == (
        delivered.platform_message_id,
        "The answer is 42.",
        False,
    )
    assert message.uuid == stage.turn.reply_id
    assert message.reply_to == QUESTION


@pytest.mark.parametrize("same", [True, False], ids=["the streaming gateway sends", "another gateway sends"])
async def test_one_gateway_streams_and_any_may_finish(stage: Stage, same: bool) -> None:
    streams = await stage.growing()
    assert stage.feishu.count("reply") == 1
    assert not stage.other(streams).streamer._growing
    sends = streams if same else stage.other(streams)
    await sends.channel.send(stage.turn.final("final"), 1)
    assert stage.only().text == "final"
    # Stragglers of the turn change nothing.
    await stage.turn.says("half of it")
    assert not streams.streamer._growing
    assert stage.only().text == "final"


async def test_updates_keep_to_feishus_pace(stage: Stage) -> None:
    """Fifty updates in a moment; the fake refuses more than five a second."""
    for number in range(50):
        await stage.turn.says("word " * (number + 1))
    await stage.feishu.until(lambda: stage.only().text == ("word " * 50).strip())
    assert all(call.code == 0 for call in stage.feishu.calls)
    times = stage.only().times
    assert len(times) <= (times[-1] - times[0]) / PER_CHAT + 2


async def test_the_newest_text_is_shown_after_being_told_to_slow_down(stage: Stage) -> None:
    await stage.growing("one")
    stage.feishu.next("update", too_fast(), refusal(230020))
    await stage.turn.says("one two")
    await stage.feishu.until(lambda: stage.only().text == "one two")


async def test_the_final_text_waits_for_an_update_on_its_way(stage: Stage) -> None:
    """The race: gateway A has an update in flight when gateway B's sender begins."""
    streams = await stage.growing()
    hold = asyncio.Event()
    before = stage.feishu.count("update")
    stage.feishu.next("update", Trouble(wait=hold))
    await stage.turn.says("half of it")
    await _eventually(lambda: stage.feishu.count("update") == before + 1)
    sending = asyncio.create_task(stage.other(streams).channel.send(stage.turn.final("final"), 1))
    store = records.NatsRecords(stage.turn.worker, stage.turn.names.deliveries)
    await _claimed(store, stage.turn.reply_id)
    assert stage.feishu.count("update") == before + 1, "the sender did not wait"
    hold.set()
    await sending
    message = stage.only()
    assert [m.text for m in stage.feishu.messages] == ["final"]
    assert render.card("half of it", growing=True) in message.contents[:-1]


async def test_a_card_being_created_when_the_final_text_comes(stage: Stage) -> None:
    hold = asyncio.Event()
    stage.feishu.next("reply", Trouble(wait_after=hold))
    await stage.turn.says("half of")
    await stage.feishu.until(lambda: len(stage.feishu.messages) == 1)
    streams = stage.first if stage.first.streamer._growing else stage.second
    sending = asyncio.create_task(stage.other(streams).channel.send(stage.turn.final("final"), 1))
    store = records.NatsRecords(stage.turn.worker, stage.turn.names.deliveries)
    await _claimed(store, stage.turn.reply_id)
    hold.set()
    await sending
    assert stage.only().text == "final"


@pytest.mark.usefixtures("_short_lease")
async def test_a_gateway_that_wakes_up_late_puts_the_final_text_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP in mid-update, past its lease, then SIGCONT: its update overwrites the final text, and it repairs that.

    The stop is played: its update hangs at Feishu, it answers nobody, and its clock has moved on when it wakes.
    """
    streams = await stage.growing()
    streamer = streams.streamer
    stopped = asyncio.Event()
    real_update, real_clock, ahead = streamer._api.update, streamer._clock, [0.0]
    held = asyncio.Event()

    async def stopped_in_mid_update(message_id: str, content: str) -> None:
        held.set()
        await stopped.wait()
        await real_update(message_id, content)

    monkeypatch.setattr(streamer._api, "update", stopped_in_mid_update)
    monkeypatch.setattr(streamer, "_clock", lambda: real_clock() + ahead[0])
    await streamer._subscriptions[0].unsubscribe()
    await streams.client.flush()
    await stage.turn.says("half of it")
    await held.wait()

    await stage.other(streams).channel.send(stage.turn.final("final"), 1)
    assert stage.only().text == "final"
    history = len(stage.only().contents)

    ahead[0] = 60.0
    stopped.set()
    await stage.feishu.until(lambda: len(stage.only().contents) >= history + 2)
    assert stage.only().contents[history] == render.card("half of it", growing=True), "nothing was overwritten"
    assert stage.only().text == "final"
    await _eventually(lambda: not streamer._growing)


@pytest.mark.usefixtures("_short_lease")
async def test_a_streaming_gateway_that_dies(stage: Stage) -> None:
    streams = await stage.growing()
    await streams.client.close()
    await stage.other(streams).channel.send(stage.turn.final("final"), 1)
    assert stage.only().text == "final"


@pytest.mark.usefixtures("_short_lease")
async def test_a_streaming_gateway_that_dies_before_it_knows_its_card(stage: Stage) -> None:
    hold = asyncio.Event()
    stage.feishu.next("reply", Trouble(wait_after=hold))
    await stage.turn.says("half of")
    await stage.feishu.until(lambda: len(stage.feishu.messages) == 1)
    streams = stage.first if stage.first.streamer._growing else stage.second
    for card in streams.streamer._growing.values():
        assert card.task is not None
        card.task.cancel()
    await streams.client.close()
    await stage.other(streams).channel.send(stage.turn.final("final"), 1)
    assert stage.only().text == "final"
    hold.set()


async def test_a_gateway_that_stops_lets_go(stage: Stage) -> None:
    """A rollout: nobody has to wait for the lease of a gateway that went in order."""
    streams = await stage.growing()
    await streams.channel.stop()
    store = records.NatsRecords(stage.turn.worker, stage.turn.names.deliveries)
    found = await store.get(stage.turn.reply_id)
    assert found is not None
    assert (found[0].settled, found[0].ids) == (True, (stage.only().message_id,))
    await stage.other(streams).channel.send(stage.turn.final("final"), 1)
    assert stage.only().text == "final"


async def test_an_answer_too_long_for_one_card_streams_its_first_part(stage: Stage) -> None:
    text = " ".join(f"Sentence {n} of a long answer." for n in range(1_500))
    await stage.turn.says(text)
    await stage.feishu.until(lambda: any(m.text == render.first_part(text) for m in stage.feishu.messages))
    await stage.first.channel.send(stage.turn.final(text), 1)
    assert [m.text for m in stage.feishu.messages] == list(render.parts(text))


async def test_no_card_where_feishu_takes_none(stage: Stage) -> None:
    stage.feishu.next("reply", refusal(230054), refusal(230054))
    await stage.turn.says("half of")
    await stage.feishu.until(lambda: stage.feishu.count("reply") == 1)
    await stage.first.channel.send(stage.turn.final("final"), 1)
    assert [(m.kind, m.text) for m in stage.feishu.messages] == [("post", "final")]


async def test_the_final_text_first_and_then_stragglers(stage: Stage) -> None:
    await stage.first.channel.send(stage.turn.final("final"), 1)
    await stage.turn.says("half of")
    for one in (stage.first, stage.second):
        await _eventually(lambda one=one: stage.turn.reply_id in one.streamer._over)
        assert not one.streamer._growing
    assert (stage.feishu.count("reply"), stage.feishu.count("update")) == (1, 0)


async def test_unreadable_updates_are_skipped(stage: Stage) -> None:
    for payload in (b"", b"{}", b"\xff", b'{"schema":"2.0"}'):
        await stage.turn.worker.publish(stage.turn.names.live("feishu", stage.turn.conversation), payload)
    await stage.growing()


async def test_who_we_are_is_asked_until_it_is_known(nats: servers.Nats, deployment: Names, tmp_path: Path) -> None:
    async with Feishu() as feishu:
        feishu.next("bot", Trouble(answer=(503, {}, {})), Trouble(answer=(200, {"code": 0}, {})))
        async with gateway(nats, deployment, tmp_path, feishu.url) as one:
            await _eventually(lambda: one.channel.bot is not None)
            assert feishu.count("bot") == 3


async def test_without_nats_nothing_is_sent(own_nats: servers.Nats, deployment: Names, tmp_path: Path) -> None:
    """The record could not be written, so Feishu is not asked."""
    async with Feishu() as feishu, gateway(own_nats, deployment, tmp_path, feishu.url) as one:
        own_nats.kill()
        reply = Turn(deployment, one.client).final("final")
        with pytest.raises(ChannelDown):
            await one.channel.send(reply, 1)
        assert feishu.count("reply") == 0


async def test_records_in_a_real_bucket(nats: servers.Nats, deployment: Names) -> None:
    client = await connect(nats.settings, "test")
    try:
        store = records.NatsRecords(client, deployment.deliveries)
        assert await store.get("r1") is None
        card = cards.unstreamed(1.0)
        revision = await store.create("r1", card)
        assert revision is not None
        assert await store.create("r1", card) is None
        assert await store.get("r1") == (card, revision)
        newer = await store.update("r1", cards.sent(card, "om"), revision)
        assert newer is not None
        assert await store.update("r1", card, revision) is None
        assert await store.get("r1") == (cards.sent(card, "om"), newer)
    finally:
        await client.close()


async def _eventually(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def _claimed(store: records.NatsRecords, reply: str) -> None:
    async with asyncio.timeout(20):
        while (found := await store.get(reply)) is None or found[0].phase != "final":
            await asyncio.sleep(0.01)
