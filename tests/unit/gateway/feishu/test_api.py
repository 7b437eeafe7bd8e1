"""Feishu's API over real HTTP, in good and bad moods."""

import asyncio
import json
from pathlib import Path

import pytest

from herald_gateway.channels.base import ChannelDown, SendUnknown, Undeliverable
from herald_gateway.channels.feishu import api as module
from herald_gateway.channels.feishu import render
from herald_gateway.channels.feishu.api import Api, Limited, Rejected, StillSending
from herald_gateway.channels.feishu.outcome import Outcome
from tests.fakes.feishu import BOT, Feishu, Trouble, refusal, too_fast
from tests.unit.gateway.feishu.platform import app

CARD = render.card("hello")


async def create(api: Api, uuid: str = "u", reply_to: str | None = "om_q", content: str = CARD) -> str:
    return await api.create("oc_chat", reply_to, "interactive", content, uuid)


async def test_reply_message_and_update(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        first = await create(api, "u-1", "om_q")
        second = await create(api, "u-2", None)
        await api.update(first, render.card("better"))
        assert (feishu.shown[first].reply_to, feishu.shown[second].reply_to) == ("om_q", None)
        assert feishu.shown[second].chat == "oc_chat"
        assert feishu.shown[first].text == "better"
        assert await api.bot_open_id() == BOT
        assert feishu.count("token") == 1


async def test_ids_cannot_leave_their_place_in_the_address(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        with pytest.raises(Undeliverable):
            await api.update("../../../bot/v3/info?x=", CARD)
        await create(api, "u", "om/../x?y#z")
        assert feishu.messages[0].reply_to == "om/../x?y#z"


async def test_an_expired_token_is_renewed_and_the_call_repeated_once(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        await create(api, "u-1")
        feishu.advance(7_300)
        await create(api, "u-2")
        assert (feishu.count("token"), feishu.count("reply"), len(feishu.messages)) == (2, 3, 2)
        feishu.always("reply", refusal(99991663))
        with pytest.raises(ChannelDown):
            await create(api, "u-3")
        assert feishu.count("reply") == 5


async def test_many_calls_with_an_expired_token_renew_it_once(tmp_path: Path) -> None:
    async with Feishu(limits=False) as feishu, app(tmp_path, feishu) as api:
        await create(api, "u")
        feishu.advance(7_300)
        await asyncio.gather(*(create(api, f"u-{n}") for n in range(10)))
        assert feishu.count("token") == 2
        assert len(feishu.messages) == 11


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (too_fast("7"), Limited),
        (refusal(230020), Limited),
        (Trouble(answer=(503, {}, {"Retry-After": "3"})), ChannelDown),
        (Trouble(answer=(500, {}, {})), SendUnknown),
        (Trouble(answer=(502, {}, {})), SendUnknown),
        (refusal(2200), SendUnknown),
        (refusal(230049), StillSending),
        (refusal(230099), Rejected),
        (refusal(230002), Rejected),
        (refusal(99991672), ChannelDown),
        (Trouble(answer=(200, {"code": 0, "data": {}}, {})), SendUnknown),
        (Trouble(answer=(200, {"code": 0, "data": {"message_id": 7}}, {})), SendUnknown),
        (Trouble(answer=(200, {"code": "0"}, {})), SendUnknown),
        (Trouble(answer=(302, {}, {"Location": "http://127.0.0.1:1/"})), ChannelDown),
    ],
)
async def test_answers(tmp_path: Path, trouble: Trouble, error: type[Exception]) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        feishu.next("reply", trouble)
        with pytest.raises(error) as caught:
            await create(api)
        assert type(caught.value) is error
        assert feishu.messages == []


async def test_how_long_feishu_wants_us_to_wait(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        feishu.next("reply", too_fast("7"))
        with pytest.raises(Limited) as caught:
            await create(api)
        assert caught.value.retry_after == 7


async def test_what_was_refused_is_said(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        feishu.next("reply", refusal(230099))
        with pytest.raises(Rejected) as caught:
            await create(api)
        assert caught.value.outcome is Outcome.BAD_CARD
        for word in ("230099", "made for a test", "log-1"):
            assert word in str(caught.value)


async def test_a_lost_connection_is_tried_again_at_once(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        await create(api, "warm")
        for trouble in (Trouble(drop_before=True), Trouble(drop_after=True)):
            feishu.next("reply", trouble)
            uuid = f"u-{trouble.drop_after}"
            assert await create(api, uuid) in feishu.shown
            assert [m.uuid for m in feishu.messages].count(uuid) == 1


async def test_after_a_lost_connection_a_refusal_proves_nothing(tmp_path: Path) -> None:
    """The first request may have done it; what is said about the second must not hide that."""
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        await create(api, "warm")
        feishu.next("reply", Trouble(drop_after=True), too_fast())
        with pytest.raises(SendUnknown):
            await create(api)
        assert len(feishu.messages) == 2


async def test_a_slow_answer_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CREATE_SECONDS", 0.2)
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        release = asyncio.Event()
        feishu.next("reply", Trouble(wait_after=release))
        with pytest.raises(SendUnknown):
            await create(api)
        assert len(feishu.messages) == 1
        release.set()


async def test_nobody_there(tmp_path: Path) -> None:
    async with Feishu() as feishu:
        pass
    async with app(tmp_path, feishu) as api:
        with pytest.raises(ChannelDown):
            await create(api)


async def test_the_previous_app_secret_bridges_a_rotation(tmp_path: Path) -> None:
    async with Feishu(app_secret="old") as feishu, app(tmp_path, feishu) as api:
        (tmp_path / "app-secret-previous").write_text("old")
        await create(api)
        assert feishu.count("token") == 2


async def test_a_wrong_app_secret_is_down_and_does_not_show(tmp_path: Path) -> None:
    async with Feishu(app_secret="other") as feishu, app(tmp_path, feishu) as api:
        with pytest.raises(ChannelDown) as caught:
            await create(api)
        assert "10014" in str(caught.value)
        assert "app-secret" not in str(caught.value)
        (tmp_path / "app-secret").unlink()
        with pytest.raises(ChannelDown):
            await create(api)


async def test_what_is_sent_is_what_feishu_documents(tmp_path: Path) -> None:
    async with Feishu() as feishu, app(tmp_path, feishu) as api:
        message_id = await create(api, "r" * 27, "om_q", render.card("中文"))
        await api.update(message_id, CARD)
        token, sent, update = feishu.calls
        assert token.body == {"app_id": "cli_herald", "app_secret": "app-secret"}
        assert sent.path == "/open-apis/im/v1/messages/om_q/reply"
        assert set(sent.body) == {"msg_type", "content", "uuid"}
        assert json.loads(sent.body["content"])["body"]["elements"] == [{"tag": "markdown", "content": "中文"}]
        assert (update.path, set(update.body)) == (f"/open-apis/im/v1/messages/{message_id}", {"content"})
