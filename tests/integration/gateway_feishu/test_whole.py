"""The channel inside real gateway processes: in through the webhook, out to Feishu, killed and stopped on the way."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from nats.aio.client import Client

from herald_contracts.messages import Message, Receipt, Reply
from herald_contracts.settings import FeishuChannel as FeishuSettings
from herald_contracts.subjects import Names
from herald_gateway.channels.feishu import render
from herald_runtime.connection import connect
from tests import servers
from tests.fakes.feishu import AT_BOT, Events, Feishu, Signed, Trouble
from tests.integration.gateway.running import Gateway, running
from tests.integration.gateway_feishu.test_streaming import Turn

EVENTS = Events()


@dataclass
class Whole:
    """A worker's view of NATS, Feishu, and gateways to start."""

    nats: servers.Nats
    names: Names
    folder: Path
    feishu: Feishu
    worker: Client
    http: aiohttp.ClientSession

    def gateway(self, number: int = 0) -> Gateway:
        secret = self.folder / "feishu-secret"
        secret.mkdir(exist_ok=True)
        for key in ("app-secret", "encrypt-key", "verification-token"):
            (secret / key).write_text(key)
        channel = FeishuSettings(name="feishu", secret=secret, app_id=EVENTS.app_id, base_url=self.feishu.url)
        return Gateway(self.folder / f"gateway-{number}", self.nats.settings, self.names, channels=(channel,))

    async def post(self, gateway: Gateway, signed: Signed) -> tuple[int, bytes]:
        url = f"{gateway.url}/channels/feishu/events"
        async with self.http.post(url, data=signed.body, headers=signed.headers) as answer:
            return answer.status, await answer.read()

    async def accepted(self) -> list[Message]:
        """What lies in stream IN."""
        found = []
        js = self.worker.jetstream()
        state = (await js.stream_info(self.names.in_stream)).state
        for sequence in range(state.first_seq or 1, state.last_seq + 1):
            found.append(Message.from_wire((await js.get_msg(self.names.in_stream, sequence)).data or b""))
        return found

    async def answer(self, reply: Reply) -> None:
        """Put a reply into stream OUT, as the relay does."""
        subject = self.names.outgoing(reply.channel, reply.conversation)
        await self.worker.jetstream().publish(subject, reply.to_wire(), headers={"Nats-Msg-Id": reply.id})

    async def receipt(self, reply: Reply) -> Receipt:
        """Wait for the outcome."""
        subject = self.names.receipt(reply.channel, reply.conversation)
        subscription = await self.worker.jetstream().subscribe(subject, stream=self.names.receipt_stream)
        return Receipt.from_wire((await subscription.next_msg(60)).data)


@pytest.fixture
async def whole(nats: servers.Nats, deployment: Names, tmp_path: Path) -> AsyncIterator[Whole]:
    async with AsyncExitStack() as stack:
        feishu = await stack.enter_async_context(Feishu())
        worker = await connect(nats.settings, "worker")
        stack.push_async_callback(worker.close)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Whole(nats, deployment, tmp_path, feishu, worker, http)


async def test_in_and_out(whole: Whole) -> None:
    gateway = whole.gateway()
    async with running(gateway):
        status, body = await whole.post(gateway, EVENTS.challenge("c-1"))
        assert (status, json.loads(body)) == (200, {"challenge": "c-1"})

        signed = EVENTS.message("hello", chat="oc_0")
        for _ in range(3):  # Feishu repeats an event whose answer it has missed
            assert (await whole.post(gateway, signed))[0] == 200
        repeated = EVENTS.message("hello", chat="oc_0", message_id=signed.message_id)
        assert (await whole.post(gateway, repeated))[0] == 200
        (message,) = await whole.accepted()
        assert (message.content, message.event_id) == ("hello", signed.message_id)

        forged = Events(encrypt_key="guessed").message("forged")
        assert (await whole.post(gateway, forged))[0] == 401
        plain = Signed(json.dumps({"type": "url_verification"}).encode(), {"content-type": "application/json"})
        assert (await whole.post(gateway, plain))[0] == 401
        assert len(await whole.accepted()) == 1

        turn = Turn(whole.names, whole.worker)
        await turn.says("Hel")
        await whole.feishu.until(lambda: [m.text for m in whole.feishu.messages] == ["Hel"])
        await whole.answer(turn.final("Hello!"))
        receipt = await whole.receipt(turn.final("Hello!"))
        (shown,) = whole.feishu.messages
        assert (receipt.outcome, receipt.platform_message_id) == ("sent", shown.message_id)
        assert (shown.text, shown.growing) == ("Hello!", False)


async def test_groups_once_the_bot_knows_itself(whole: Whole) -> None:
    """A group message that comes too early is refused with 503, and taken when Feishu repeats it."""
    whole.feishu.always("bot", Trouble(answer=(503, {}, {})))
    gateway = whole.gateway()
    signed = EVENTS.message("@_user_1 hello", group=True, mentions=[AT_BOT])
    async with running(gateway):
        assert (await whole.post(gateway, signed))[0] == 503
        assert await whole.accepted() == []
        whole.feishu.always("bot", None)
        async with asyncio.timeout(60):
            while (await whole.post(gateway, signed))[0] != 200:
                await asyncio.sleep(0.1)
        assert [m.content for m in await whole.accepted()] == ["hello"]


async def test_killed_after_feishu_took_it(whole: Whole) -> None:
    """SIGKILL between Feishu's doing and our knowing; the next gateway must not answer twice."""
    hold = asyncio.Event()
    whole.feishu.next("reply", Trouble(wait_after=hold))
    final = Turn(whole.names, whole.worker).final("final")
    doomed = whole.gateway(1)
    async with running(doomed):
        await whole.answer(final)
        await whole.feishu.until(lambda: len(whole.feishu.messages) == 1)
        doomed.signal(signal.SIGKILL)
        await doomed.ended()
    hold.set()
    async with running(whole.gateway(2)):
        receipt = await whole.receipt(final)
    assert [m.text for m in whole.feishu.messages] == ["final"]
    assert (receipt.outcome, receipt.platform_message_id) == ("sent", whole.feishu.messages[0].message_id)
    assert receipt.attempts == 2


async def test_stopped_in_mid_update_and_woken_after_the_final_text(whole: Whole) -> None:
    """A real zombie: SIGSTOP with an update on its way, the lease runs out, another gateway finishes, SIGCONT."""
    hold = asyncio.Event()
    turn = Turn(whole.names, whole.worker)
    zombie = whole.gateway(1)
    async with running(zombie):
        await turn.says("half of")
        await whole.feishu.until(lambda: [m.text for m in whole.feishu.messages] == ["half of"])
        (shown,) = whole.feishu.messages
        whole.feishu.next("update", Trouble(wait=hold))
        await turn.says("half of it")
        async with asyncio.timeout(20):
            while whole.feishu.count("update") == 0:
                await asyncio.sleep(0.01)
        zombie.signal(signal.SIGSTOP)
        async with running(whole.gateway(2)):
            await whole.answer(turn.final("final"))
            receipt = await whole.receipt(turn.final("final"))
            assert receipt.outcome == "sent"
            assert shown.text == "final"
            history = len(shown.contents)
            hold.set()
            await whole.feishu.until(lambda: len(shown.contents) == history + 1)
            assert shown.contents[-1] == render.card("half of it", growing=True), "nothing was overwritten"
            zombie.signal(signal.SIGCONT)
            await whole.feishu.until(lambda: shown.text == "final", 30)
    assert [m.text for m in whole.feishu.messages] == ["final"]
