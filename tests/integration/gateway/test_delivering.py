"""Replies out, against a real NATS: each one delivered as often as its channel allows, whatever dies in between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from nats.js.api import StreamConfig

from herald_contracts.messages import Reply
from herald_contracts.settings import Nats
from herald_contracts.subjects import Names
from herald_gateway import senders as senders_module
from herald_gateway.channels.base import ChannelDown, Delivered, SendUnknown, Undeliverable
from herald_runtime.acks import OutcomeUnknown, Publisher, Stored
from herald_runtime.connection import connect
from tests.fakes.callback import Mood, Receiver
from tests.integration.gateway.delivering import DEADLINE, FakeChannel, Workshop, outcomes, reply, taken
from tests.unit.gateway import samples

LATER = 60.0  # longer than an attempt may take


@pytest.fixture
async def workshop(nats: Any, deployment: Names) -> AsyncIterator[Workshop]:
    settings: Nats = nats.settings
    client = await connect(settings, "test")
    publisher = Publisher(client)
    await publisher.start()
    async with aiohttp.ClientSession() as http:
        made = Workshop(client, publisher, deployment, http)
        yield made
        await made.close()
    await publisher.stop()
    await client.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver(samples.SECRET) as made:
        yield made


async def test_a_reply_is_posted_signed_recorded_and_receipted(
    workshop: Workshop, receiver: Receiver, tmp_path: Path
) -> None:
    async with workshop.running(workshop.senders(await workshop.hook(tmp_path, receiver.url))):
        await workshop.put(reply())
        (receipt,) = await workshop.until_receipts(1)
        await workshop.until_settled()
    (post,) = receiver.posts
    assert post.signed
    assert post.reply == receipt.reply == reply().id
    assert post.json["text"] == reply().content
    assert (receipt.outcome, receipt.attempts, receipt.platform_message_id) == ("sent", 1, reply().id)
    record = await workshop.record(reply())
    assert record is not None
    assert record.state == "sent"
    assert workshop.measurements.deliveries.values == {("hook", "sent"): 1}


async def test_many_at_once_each_once(workshop: Workshop, receiver: Receiver, tmp_path: Path) -> None:
    async with workshop.running(workshop.senders(await workshop.hook(tmp_path, receiver.url))):
        await workshop.put(*[reply(n) for n in range(100)])
        await workshop.until_receipts(100)
        await workshop.until_settled()
    assert receiver.replies() == {reply(n).id: 1 for n in range(100)}


async def test_a_reply_relayed_twice_is_delivered_once(workshop: Workshop, receiver: Receiver, tmp_path: Path) -> None:
    async with workshop.running(workshop.senders(await workshop.hook(tmp_path, receiver.url))):
        await workshop.put(reply())
        await workshop.until_receipts(1)
        await workshop.put(reply())
        await workshop.until_settled()
    assert len(receiver.posts) == 1
    assert outcomes(await workshop.receipts()) == ["sent"]


async def test_two_senders_with_the_same_reply_make_one_attempt(workshop: Workshop) -> None:
    channel = FakeChannel(taken)
    await workshop.put(reply())
    subscription = await workshop.client.jetstream().pull_subscribe_bind(
        workshop.names.senders, workshop.names.out_stream
    )
    (message,) = await subscription.fetch(1)
    await asyncio.gather(*(workshop.senders(channel)._handle(message) for _ in range(8)))
    assert channel.sent == [(reply().id, 1)]


def crash() -> Callable[[Reply, int], Any]:
    """A platform call that never comes back: what a killed sender looks like from outside."""

    async def forever(_: Reply, __: int) -> Delivered:
        await asyncio.Event().wait()
        raise AssertionError

    return forever


async def test_killed_while_sending_hold_never_sends_again(workshop: Workshop) -> None:
    await workshop.quickly()
    dying = FakeChannel(crash())
    async with workshop.running(workshop.senders(dying)):
        await workshop.put(reply())
        await workshop.until_record(reply(), "sending")
    channel = FakeChannel(taken)
    async with workshop.running(workshop.senders(channel, later=LATER)):
        (receipt,) = await workshop.until_receipts(1)
        await workshop.until_settled()
    assert receipt.outcome == "unknown"
    assert channel.sent == []
    assert len(dying.sent) == 1


async def test_killed_while_sending_hold_first_gives_a_slow_sender_its_time(workshop: Workshop) -> None:
    await workshop.quickly()
    async with workshop.running(workshop.senders(FakeChannel(crash()))):
        await workshop.put(reply())
        await workshop.until_record(reply(), "sending")
    channel = FakeChannel(taken)
    js = workshop.client.jetstream()
    async with workshop.running(workshop.senders(channel)), asyncio.timeout(DEADLINE):
        while (await js.consumer_info(workshop.names.out_stream, workshop.names.senders)).num_redelivered != 1:
            await asyncio.sleep(0.05)
        await workshop.quickly(30)  # so that only the nak's own delay could bring it back
    assert channel.sent == []
    record = await workshop.record(reply())
    assert record is not None
    assert record.state == "sending"


@pytest.mark.parametrize("change", [{"idempotent": True}, {"on_unknown": "resend"}])
async def test_killed_while_sending_is_sent_again_under_the_same_id_elsewhere(
    workshop: Workshop, change: dict[str, Any]
) -> None:
    await workshop.quickly()
    async with workshop.running(workshop.senders(FakeChannel(crash(), **change))):
        await workshop.put(reply())
        await workshop.until_record(reply(), "sending")
    channel = FakeChannel(taken, **change)
    async with workshop.running(workshop.senders(channel)):
        (receipt,) = await workshop.until_receipts(1)
    assert channel.sent == [(reply().id, 2)]
    assert (receipt.outcome, receipt.attempts) == ("sent", 2)


class Deaf(Publisher):
    """Cannot publish a receipt: the process dies between its delivery record and the workers."""

    async def publish(self, subject: str, payload: bytes, message_id: str, *, deadline: float) -> Stored:
        raise OutcomeUnknown("no more")


@pytest.mark.parametrize("on_unknown", ["hold", "resend"])
async def test_killed_between_record_and_receipt_is_not_sent_twice(workshop: Workshop, on_unknown: Any) -> None:
    await workshop.quickly()
    channel = FakeChannel(taken, on_unknown=on_unknown)
    async with workshop.running(workshop.senders(channel, publisher=Deaf(workshop.client))):
        await workshop.put(reply())
        await workshop.until_record(reply(), "sent")
    assert await workshop.receipts() == []
    async with workshop.running(workshop.senders(channel, later=LATER)):
        (receipt,) = await workshop.until_receipts(1)
        await workshop.until_settled()
    assert channel.sent == [(reply().id, 1)]
    assert (receipt.outcome, receipt.platform_message_id) == ("sent", f"p-{reply().id}")


async def test_a_sender_that_wakes_too_late_changes_nothing(workshop: Workshop) -> None:
    await workshop.quickly()
    wake = asyncio.Event()

    async def asleep(reply: Reply, attempt: int) -> Delivered:
        await wake.wait()
        return Delivered("late")

    zombie = workshop.senders(FakeChannel(asleep))
    async with workshop.running(zombie):
        await workshop.put(reply())
        await workshop.until_record(reply(), "sending")
        async with workshop.running(workshop.senders(FakeChannel(taken), later=LATER)):
            # The zombie's heartbeats are what a stopped process would not send.
            zombie._running.clear()
            zombie.stop()
            await workshop.until_receipts(1)
            wake.set()
            await asyncio.gather(*zombie._tasks, return_exceptions=True)
    assert outcomes(await workshop.receipts()) == ["unknown"]
    record = await workshop.record(reply())
    assert record is not None
    assert record.state == "unknown"


async def test_a_platform_that_is_away_gets_its_replies_when_it_is_back(
    workshop: Workshop, receiver: Receiver, tmp_path: Path
) -> None:
    channel = await workshop.hook(tmp_path, receiver.url, "hold")
    await receiver.close()
    async with workshop.running(workshop.senders(channel)):
        await workshop.put(reply())
        record = await workshop.until_record(reply(), "waiting")
        assert not record.maybe
        await receiver.open()
        (receipt,) = await workshop.until_receipts(1)
    assert receipt.outcome == "sent"
    assert receipt.attempts > 1
    assert len(receiver.posts) == 1


async def test_a_platform_that_says_later_is_asked_later(
    workshop: Workshop, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.moods.extend([Mood(503), Mood(429, headers={"Retry-After": "1"})])
    async with workshop.running(workshop.senders(await workshop.hook(tmp_path, receiver.url, "hold"))):
        await workshop.put(reply())
        (receipt,) = await workshop.until_receipts(1)
    assert (receipt.outcome, receipt.attempts) == ("sent", 3)
    assert [post.headers["herald-attempt"] for post in receiver.posts] == ["1", "2", "3"]
    assert {post.reply for post in receiver.posts} == {reply().id}
    assert receiver.posts[1].at - receiver.posts[0].at > 0.5


@pytest.mark.parametrize("status", [400, 404, 410])
async def test_a_platform_that_says_never_is_believed(
    workshop: Workshop, receiver: Receiver, tmp_path: Path, status: int
) -> None:
    receiver.mood = Mood(status)
    async with workshop.running(workshop.senders(await workshop.hook(tmp_path, receiver.url))):
        await workshop.put(reply())
        (receipt,) = await workshop.until_receipts(1)
        await workshop.until_settled()
    assert receipt.outcome == "failed"
    assert f"HTTP {status}" in receipt.reason
    assert len(receiver.posts) == 1


async def test_a_redirect_is_not_followed(workshop: Workshop, receiver: Receiver, tmp_path: Path) -> None:
    receiver.moods.append(Mood(307, headers={"Location": receiver.url}))
    async with workshop.running(workshop.senders(await workshop.hook(tmp_path, receiver.url))):
        await workshop.put(reply())
        (receipt,) = await workshop.until_receipts(1)
    assert receipt.outcome == "failed"
    assert len(receiver.posts) == 1


async def test_a_connection_that_breaks_after_the_post_is_unknown_on_hold(
    workshop: Workshop, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.mood = Mood(drop=True)
    async with workshop.running(workshop.senders(await workshop.hook(tmp_path, receiver.url, "hold"))):
        await workshop.put(reply())
        (receipt,) = await workshop.until_receipts(1)
        await workshop.until_settled()
    assert receipt.outcome == "unknown"
    assert len(receiver.posts) == 1


async def test_a_connection_that_breaks_after_the_post_is_repeated_on_resend(
    workshop: Workshop, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.moods.append(Mood(drop=True))
    async with workshop.running(workshop.senders(await workshop.hook(tmp_path, receiver.url, "resend"))):
        await workshop.put(reply())
        (receipt,) = await workshop.until_receipts(1)
    assert (receipt.outcome, receipt.attempts) == ("sent", 2)
    assert [post.reply for post in receiver.posts] == [reply().id] * 2


async def test_on_hold_no_idle_connection_is_used_again(workshop: Workshop, receiver: Receiver, tmp_path: Path) -> None:
    async with workshop.running(workshop.senders(await workshop.hook(tmp_path, receiver.url, "hold"))):
        for number in range(3):
            await workshop.put(reply(number))
            await workshop.until_receipts(number + 1)
    assert {post.headers.get("connection") for post in receiver.posts} == {"close"}


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (ChannelDown("down"), "failed"),
        (SendUnknown("gone"), "unknown"),
        (Undeliverable("never"), "failed"),
        (KeyError("a fault of ours"), "unknown"),
    ],
)
async def test_after_its_time_a_reply_is_given_up_honestly(
    workshop: Workshop, failure: Exception, outcome: str
) -> None:
    async def failing(_: Reply, __: int) -> Delivered:
        raise failure

    channel = FakeChannel(failing, on_unknown="resend")
    async with workshop.running(workshop.senders(channel, deliver_for=0)):
        await workshop.put(reply())
        (receipt,) = await workshop.until_receipts(1)
        await workshop.until_settled()
    assert receipt.outcome == outcome


async def test_a_reply_for_a_channel_that_is_not_here_waits_and_then_fails(workshop: Workshop) -> None:
    async with workshop.running(workshop.senders(FakeChannel(taken), deliver_for=1.5)):
        await workshop.put(reply(channel="elsewhere"))
        (receipt,) = await workshop.until_receipts(1)
        await workshop.until_settled()
    assert receipt.outcome == "failed"
    assert receipt.attempts > 1
    assert "elsewhere" in receipt.reason


async def test_what_cannot_be_read_is_set_aside_and_seen(workshop: Workshop) -> None:
    channel = FakeChannel(taken)
    async with workshop.running(workshop.senders(channel)):
        for payload in (b"not json", b'{"schema": "2.0"}', b""):
            await workshop.publisher.publish(workshop.names.outgoing("hook", "c1"), payload, "", deadline=5)
        await workshop.put(reply())
        await workshop.until_receipts(1)
        await workshop.until_settled()
        async with asyncio.timeout(DEADLINE):
            while (await workshop.client.jetstream().stream_info(workshop.names.advisory_stream)).state.messages < 3:
                await asyncio.sleep(0.02)
    assert channel.sent == [(reply().id, 1)]
    assert workshop.measurements.deliveries.values["", "unreadable"] == 3


async def test_a_long_delivery_keeps_its_reply(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders_module, "SENDER_ACK_WAIT", 1.0)
    await workshop.quickly(1.0)

    async def slow(reply: Reply, attempt: int) -> Delivered:
        await asyncio.sleep(3)
        return Delivered("p")

    channel = FakeChannel(slow, on_unknown="resend")
    async with workshop.running(workshop.senders(channel)), workshop.running(workshop.senders(channel)):
        await workshop.put(reply())
        (receipt,) = await workshop.until_receipts(1)
        await workshop.until_settled()
    assert channel.sent == [(reply().id, 1)]
    assert receipt.attempts == 1


async def test_a_redelivery_in_the_middle_starts_nothing_new(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(senders_module, "SENDER_ACK_WAIT", 1_000)  # as if the heartbeats were lost
    await workshop.quickly()
    release = asyncio.Event()

    async def slow(reply: Reply, attempt: int) -> Delivered:
        await release.wait()
        return Delivered("p")

    channel = FakeChannel(slow, on_unknown="resend")
    js = workshop.client.jetstream()
    async with workshop.running(workshop.senders(channel)):
        await workshop.put(reply())
        async with asyncio.timeout(DEADLINE):
            while not (await js.consumer_info(workshop.names.out_stream, workshop.names.senders)).num_redelivered:
                await asyncio.sleep(0.05)
        await workshop.put(reply(2))  # comes after the redelivery, so that has arrived too
        async with asyncio.timeout(DEADLINE):
            while len(channel.sent) < 2:
                await asyncio.sleep(0.02)
        release.set()
        await workshop.until_receipts(2)
        await workshop.until_settled()
    assert channel.sent == [(reply().id, 1), (reply(2).id, 1)]


async def test_after_a_fault_of_ours_hold_does_not_send_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await workshop.quickly()

    def faulty(*_: Any, **__: Any) -> Any:
        raise RuntimeError("between sending and writing down")

    channel = FakeChannel(taken)
    with monkeypatch.context() as patch:
        patch.setattr(senders_module, "end", faulty)
        senders = workshop.senders(channel)
        async with workshop.running(senders):
            await workshop.put(reply())
            await workshop.until_record(reply(), "sending")
            patch.setattr(senders, "_now", workshop.senders(channel, later=LATER)._now)
            (receipt,) = await workshop.until_receipts(1)
    assert receipt.outcome == "unknown"
    assert channel.sent == [(reply().id, 1)]


async def test_a_slow_platform_leaves_room_for_the_others(workshop: Workshop) -> None:
    release = asyncio.Event()

    async def slow(reply: Reply, attempt: int) -> Delivered:
        await release.wait()
        return Delivered("p")

    slow_channel, quick = FakeChannel(slow, "slow"), FakeChannel(taken, "quick")
    async with workshop.running(workshop.senders(slow_channel, quick, in_flight=4)):
        await workshop.put(*[reply(n, "slow") for n in range(10)])
        await workshop.put(reply(99, "quick"))
        (receipt,) = await workshop.until_receipts(1)
        assert receipt.reply == reply(99).id
        assert len(slow_channel.sent) <= 2
        release.set()
        await workshop.until_receipts(11)
    assert sorted(slow_channel.sent) == [(reply(n).id, 1) for n in range(10)]


async def test_without_its_records_nothing_is_sent(workshop: Workshop) -> None:
    js = workshop.client.jetstream()
    bucket: StreamConfig = (await js.stream_info(f"KV_{workshop.names.deliveries}")).config
    await js.delete_stream(f"KV_{workshop.names.deliveries}")
    channel = FakeChannel(taken)
    async with workshop.running(workshop.senders(channel)):
        await workshop.put(reply())
        async with asyncio.timeout(DEADLINE):
            while (await js.consumer_info(workshop.names.out_stream, workshop.names.senders)).num_redelivered == 0:
                await asyncio.sleep(0.05)
        assert channel.sent == []
        await js.add_stream(bucket)
        (receipt,) = await workshop.until_receipts(1)
    assert receipt.outcome == "sent"
    assert len(channel.sent) == 1


async def test_stopping_finishes_what_runs_and_hands_back_the_rest(workshop: Workshop) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def slow(reply: Reply, attempt: int) -> Delivered:
        started.set()
        await release.wait()
        return Delivered("p")

    first = FakeChannel(slow)
    leaving = workshop.senders(first, in_flight=2)
    await workshop.put(*[reply(n) for n in range(20)])
    async with workshop.running(leaving) as task:
        await started.wait()
        leaving.stop()
        release.set()
        async with asyncio.timeout(DEADLINE):
            await asyncio.shield(task)
    finished = len(await workshop.receipts())
    assert finished == len(first.sent) <= 2
    second = FakeChannel(taken)
    async with workshop.running(workshop.senders(second)), asyncio.timeout(8):  # within the 10 s of an ack's wait
        await workshop.until_receipts(20)
    assert len(second.sent) == 20 - finished
    assert set(second.sent).isdisjoint(first.sent)


async def test_senders_wait_for_their_consumer(workshop: Workshop) -> None:
    js = workshop.client.jetstream()
    config = (await js.consumer_info(workshop.names.out_stream, workshop.names.senders)).config
    await js.delete_consumer(workshop.names.out_stream, workshop.names.senders)
    channel = FakeChannel(taken)
    async with workshop.running(workshop.senders(channel)) as task:
        await workshop.put(reply())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                await asyncio.shield(task)
        assert not task.done()
        await js.add_consumer(workshop.names.out_stream, config)
        await workshop.until_receipts(1)
    assert len(channel.sent) == 1
