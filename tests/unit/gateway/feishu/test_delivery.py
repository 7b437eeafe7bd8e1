"""The final text: there once, whole, and in order, whatever is cut off where."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from herald_contracts.messages import Reply
from herald_gateway.channels.base import ChannelDown, SendUnknown, Undeliverable
from herald_gateway.channels.feishu import cards, render
from herald_gateway.channels.feishu import delivery as module
from herald_gateway.channels.feishu.api import Api
from tests.fakes.feishu import Feishu, Trouble, refusal, too_fast
from tests.unit.gateway.feishu.platform import Clock, MemoryRecords, app, delivery, reply

LONG = " ".join(f"Sentence {n} of a long answer." for n in range(30))  # three parts


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEASE", "LATE", "_AGAIN"):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(module, "_PART_GAP", 0.0)
    monkeypatch.setattr(render, "LIMIT", 300)


async def streamed(api: Api, records: MemoryRecords, made: Reply, *, known: bool = True) -> str:
    """A card as a streaming gateway leaves it; `known` when it had time to note its id."""
    await records.create(made.id, cards.streaming("inbox", Clock().wall()))
    content = render.card("half of", growing=True)
    message_id = await api.create(made.chat, made.reply_to, "interactive", content, made.id)
    if known:
        await records.update(made.id, cards.renewed(records.card(made.id), message_id), 1)
    return message_id


async def test_one_short_answer(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records = MemoryRecords()
        delivered = await delivery(api, records).deliver(reply("**hi**"))
        (message,) = feishu.messages
        assert (message.message_id, message.text, message.uuid) == (delivered.platform_message_id, "**hi**", reply().id)
        assert (message.kind, message.reply_to, message.growing) == ("interactive", "om_question", False)
        assert feishu.count("update") == 0
        assert records.card(reply().id).ids == (message.message_id,)


async def test_an_answer_to_nothing_goes_to_the_chat(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        await delivery(api, MemoryRecords()).deliver(reply(reply_to=None))
        assert (feishu.messages[0].chat, feishu.messages[0].reply_to) == ("oc_chat", None)


async def test_a_long_answer_comes_in_order_and_whole(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        delivered = await delivery(api, MemoryRecords()).deliver(reply(LONG))
        assert len(feishu.messages) >= 3
        assert delivered.platform_message_id == feishu.messages[0].message_id
        assert [m.uuid for m in feishu.messages] == [
            reply().id + (f"-{n}" if n else "") for n in range(len(feishu.messages))
        ]
        assert "".join("".join(m.text.split()) for m in feishu.messages) == "".join(LONG.split())
        assert all(len(m.uuid) <= 50 for m in feishu.messages)


async def test_again_after_success_does_nothing(tmp_path: Path) -> None:
    """The gateway was killed after Feishu took it, even if it comes back after the hour of de-duplication."""
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records, clock = MemoryRecords(), Clock()
        first = await delivery(api, records, clock).deliver(reply(LONG))
        shown = len(feishu.messages)
        feishu.advance(7_500)
        clock.ahead = 7_500
        assert await delivery(api, records, clock).deliver(reply(LONG)) == first
        assert len(feishu.messages) == shown


@pytest.mark.parametrize("trouble", [Trouble(drop_after=True), Trouble(answer=(500, {}, {}))])
async def test_an_unknown_outcome_is_repeated_with_the_same_uuid(tmp_path: Path, trouble: Trouble) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records = MemoryRecords()
        feishu.next("reply", trouble, Trouble(drop_after=True), Trouble(drop_after=True))
        for _ in range(3):
            try:
                await delivery(api, records).deliver(reply())
            except SendUnknown:
                continue
            break
        assert [m.text for m in feishu.messages] == ["the answer"]


async def test_what_may_be_there_is_not_sent_again_after_the_hour(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records, clock = MemoryRecords(), Clock()
        feishu.next("reply", Trouble(answer=(500, {}, {})))
        with pytest.raises(SendUnknown):
            await delivery(api, records, clock).deliver(reply())
        # A clean refusal of a later attempt says nothing about the first one.
        feishu.next("reply", too_fast())
        with pytest.raises(ChannelDown):
            await delivery(api, records, clock).deliver(reply())
        clock.ahead = cards.CERTAIN + 1
        with pytest.raises(Undeliverable, match="unknown"):
            await delivery(api, records, clock).deliver(reply())
        assert feishu.count("reply") == 2


async def test_what_was_surely_not_sent_may_wait_for_days(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records, clock = MemoryRecords(), Clock()
        for day in range(3):
            clock.ahead = day * 86_400
            feishu.next("reply", Trouble(answer=(503, {}, {})))
            with pytest.raises(ChannelDown):
                await delivery(api, records, clock).deliver(reply())
        await delivery(api, records, clock).deliver(reply())
        assert [m.text for m in feishu.messages] == ["the answer"]


async def test_parts_that_are_there_are_not_sent_again(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records, clock = MemoryRecords(), Clock()
        feishu.next("reply", Trouble(), too_fast())
        with pytest.raises(ChannelDown):
            await delivery(api, records, clock).deliver(reply(LONG))
        assert len(feishu.messages) == 1
        feishu.advance(2 * 3_600)
        clock.ahead = 2 * 3_600
        await delivery(api, records, clock).deliver(reply(LONG))
        assert len({m.text for m in feishu.messages}) == len(feishu.messages) == len(render.parts(LONG))


async def test_a_message_still_being_sent_is_waited_for(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        feishu.next("reply", refusal(230049), refusal(230049))
        await delivery(api, MemoryRecords()).deliver(reply())
        assert len(feishu.messages) == 1
        feishu.always("reply", refusal(230049))
        with pytest.raises(SendUnknown):
            await delivery(api, MemoryRecords()).deliver(reply(number=1))


async def test_a_card_that_feishu_cannot_render_becomes_plain_text(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        feishu.next("reply", refusal(230099))
        await delivery(api, MemoryRecords()).deliver(reply("| broken | table"))
        (message,) = feishu.messages
        assert message.text == "| broken | table"
        assert '"plain_text"' in message.contents[0]


async def test_chats_without_cards_get_a_post(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        feishu.next("reply", refusal(230054))
        await delivery(api, MemoryRecords()).deliver(reply("**hi**"))
        assert [(m.kind, m.text) for m in feishu.messages] == [("post", "**hi**")]


@pytest.mark.parametrize("code", [230002, 230011, 230022, 230028, 230035])
async def test_refused_for_good(tmp_path: Path, code: int) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        feishu.next("reply", refusal(code))
        with pytest.raises(Undeliverable, match=str(code)):
            await delivery(api, MemoryRecords()).deliver(reply())


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("word", [True, False])
async def test_a_streamed_card_ends_with_the_final_text(tmp_path: Path, known: bool, word: bool) -> None:
    """Whether or not the streaming gateway noted the card's id, and whether or not it still speaks."""
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records = MemoryRecords()
        message_id = await streamed(api, records, reply(), known=known)

        async def ask(holder: str, about: str, seconds: float) -> tuple[str, bool] | None:
            assert (holder, about) == ("inbox", reply().id)
            return (message_id, False) if word else None

        delivered = await delivery(api, records, ask=ask).deliver(reply())
        (message,) = feishu.messages
        assert (message.message_id, message.text, message.growing) == (message_id, "the answer", False)
        assert delivered.platform_message_id == message_id
        # Left for a holder that gave no word and may wake up later.
        assert records.card(reply().id).text == ("" if word else "the answer")


async def test_a_long_answer_after_a_streamed_card(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records = MemoryRecords()
        await streamed(api, records, reply(LONG))
        await delivery(api, records).deliver(reply(LONG))
        assert [m.text for m in feishu.messages] == list(render.parts(LONG))


async def test_a_holder_that_ended_is_not_asked(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records = MemoryRecords()
        message_id = await streamed(api, records, reply())
        await records.update(reply().id, cards.released(records.card(reply().id), message_id), 2)

        async def ask(*_: object) -> tuple[str, bool] | None:
            raise AssertionError("asked")

        await delivery(api, records, ask=ask).deliver(reply())
        assert [m.text for m in feishu.messages] == ["the answer"]


async def test_a_lost_update_of_the_holder_is_overwritten_when_it_arrives(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records = MemoryRecords()
        message_id = await streamed(api, records, reply())

        async def ask(*_: object) -> tuple[str, bool] | None:
            return message_id, True

        work = asyncio.create_task(delivery(api, records, ask=ask).deliver(reply()))
        await feishu.until(lambda: feishu.count("update") == 1)
        await api.update(message_id, render.card("half of", growing=True))
        await work
        assert feishu.messages[0].text == "the answer"


async def test_a_card_that_cannot_be_rendered_anew_becomes_plain_text(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records = MemoryRecords()
        await streamed(api, records, reply())
        feishu.next("update", refusal(230099))
        await delivery(api, records).deliver(reply())
        assert feishu.messages[0].text == "the answer"


async def test_two_senders_at_once(tmp_path: Path) -> None:
    """The same reply, redelivered while the first sender is still at it."""
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        for number in range(20):
            records = MemoryRecords()
            both = (delivery(api, records).deliver(reply(number=number)) for _ in range(2))
            outcomes = await asyncio.gather(*both, return_exceptions=True)
            assert all(not isinstance(o, BaseException) or isinstance(o, ChannelDown | SendUnknown) for o in outcomes)
            await delivery(api, records).deliver(reply(number=number))
            assert len(feishu.messages) == number + 1
            feishu.advance(1)


async def test_a_record_of_another_version_is_not_guessed_at(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        records = MemoryRecords()
        records.stored[reply().id] = (b'{"phase":"later","settled":true}', 1)
        with pytest.raises(Undeliverable, match="version"):
            await delivery(api, records).deliver(reply())


class Killed(BaseException):
    """What a SIGKILL looks like from inside: nothing catches it."""


class Crashing:
    """Passes calls on to `target`, and dies before or after the `fatal`-th one of all that share `count`."""

    def __init__(self, target: Any, count: list[int], fatal: int, *, after: bool) -> None:
        self._target, self._count, self._fatal, self._after = target, count, fatal, after

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> Any:
            self._count[0] += 1
            fatal = self._count[0] == self._fatal
            if fatal and not self._after:
                raise Killed
            result = await getattr(self._target, name)(*args)
            if fatal:
                raise Killed
            return result

        return call


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("known", [None, True, False], ids=["not streamed", "streamed", "streamed, id not noted"])
@pytest.mark.parametrize("content", ["the answer", LONG], ids=["short", "long"])
async def test_killed_at_every_point(tmp_path: Path, content: str, known: bool | None, after: bool) -> None:
    """Before and after every write of the record and every call of Feishu; another gateway goes on."""
    made = reply(content)
    async with Feishu(limits=False) as feishu, app(tmp_path, feishu) as api:
        fatal, ended = 0, False
        while not ended:
            fatal += 1
            feishu.shown.clear()
            feishu.advance(3_601)  # the uuids of the last round are forgotten
            records, count = MemoryRecords(), [0]
            if known is not None:
                await streamed(api, records, made, known=known)
            doomed: Any = (Crashing(api, count, fatal, after=after), Crashing(records, count, fatal, after=after))
            try:
                await delivery(doomed[0], doomed[1]).deliver(made)
                ended = True
            except Killed:
                pass
            await delivery(api, records).deliver(made)
            assert [m.text for m in feishu.messages] == list(render.parts(content)), f"killed at call {fatal}"
        assert fatal > 4
