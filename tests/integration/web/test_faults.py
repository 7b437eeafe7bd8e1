"""Parts that are killed under an open page: what was written is accepted once and answered once."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Route

from herald_contracts.subjects import Names
from tests import servers
from tests.browser import ChatPage
from tests.integration.web import stage
from tests.integration.web.stage import Gateway, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = 60.0  # the page waits up to 15 s between two tries


async def test_a_killed_gateway(chat: ChatPage, gateway: Gateway, worker: Worker) -> None:
    await chat.send("before")
    before = await worker.next()
    await before.show("half an")
    await chat.until(lambda turns: [a.text for a in turns[0].answers] == ["half an"])

    gateway.kill()
    await chat.wait_for_status("offline")
    await chat.send("meanwhile")
    turns = await chat.until(lambda turns: len(turns) == 2 and turns[1].state == "retrying")
    assert "Not sent yet. The server cannot be reached." in turns[1].note
    await before.reply("half an answer made whole")

    await gateway.restart()
    meanwhile = await worker.next(SLOW)
    assert meanwhile.message.content == "meanwhile"
    await meanwhile.reply("and after")
    assert (await chat.answer_to("before", SLOW)).text == "half an answer made whole"
    assert (await chat.answer_to("meanwhile", SLOW)).text == "and after"
    await chat.wait_for_status("ready", seconds=SLOW)
    assert [t.question for t in await chat.turns()] == ["before", "meanwhile"]
    assert await worker.accepted() == 2


async def test_a_page_closed_while_the_gateway_is_down_sends_later(
    chat: ChatPage, someone: BrowserContext, gateway: Gateway, worker: Worker
) -> None:
    gateway.kill()
    await chat.send("kept")
    await chat.until(lambda turns: [t.state for t in turns] == ["retrying"])
    await chat.page.close()
    await gateway.restart()
    again = await ChatPage.open(someone, gateway.url)
    assert (await worker.next()).message.content == "kept"
    await again.until(lambda turns: [(t.question, t.state) for t in turns] == [("kept", "durable")])
    assert await worker.accepted() == 1


async def test_an_answer_lost_on_the_way_back_makes_no_second_message(chat: ChatPage, worker: Worker) -> None:
    posts: list[str] = []

    async def lose_the_first_two(route: Route) -> None:
        posts.append(route.request.post_data or "")
        if len(posts) < 3:
            await route.fetch()  # the server has it
            await route.abort()  # the page never hears of it
        else:
            await route.continue_()

    await chat.page.route("**/events", lose_the_first_two)
    await chat.page.route("**/stream?*", lambda route: route.abort())
    await chat.page.reload()
    await chat.send("once")
    asked = await worker.next()
    await chat.until(lambda turns: [t.state for t in turns] == ["accepted"])
    assert len(posts) == 3
    assert len(set(posts)) == 1
    await chat.page.unroute_all()
    await asked.reply("one answer")
    await chat.wait_for_status("ready")
    assert (await chat.answer_to("once")).text == "one answer"
    assert len(await chat.turns()) == 1
    assert await worker.accepted() == 1


async def test_a_killed_nats(someone: BrowserContext, own_nats: servers.Nats, tmp_path: Path) -> None:
    fragile = Names("test", "fragile")
    gateway = Gateway(tmp_path / "gateway", own_nats.settings, fragile)
    try:
        async with (
            stage.deployed(own_nats.settings, fragile),
            stage.worker(own_nats.settings, fragile) as worker,
        ):
            gateway.start()
            chat = await ChatPage.open(someone, gateway.url)
            await chat.send("before")
            before = await worker.next()
            await before.show("half")
            await chat.until(lambda turns: [a.text for a in turns[0].answers] == ["half"])

            own_nats.kill()
            await chat.wait_for_status("offline")
            await chat.send("meanwhile")
            turns = await chat.until(lambda turns: len(turns) == 2 and turns[1].state == "retrying")
            assert "Not sent yet. The server cannot accept it now." in turns[1].note

            await own_nats.restart()
            meanwhile = await worker.next(SLOW)
            assert meanwhile.message.content == "meanwhile"
            await before.reply("whole")
            await meanwhile.reply("second")
            assert (await chat.answer_to("before", SLOW)).text == "whole"
            assert (await chat.answer_to("meanwhile", SLOW)).text == "second"
            await chat.wait_for_status("ready", seconds=SLOW)
            assert [t.question for t in await chat.turns()] == ["before", "meanwhile"]
            assert await worker.accepted() == 2
            assert chat.errors == []
    finally:
        gateway.stop()


async def test_a_lost_session_begins_a_new_one_and_says_so(
    chat: ChatPage, someone: BrowserContext, gateway: Gateway, worker: Worker
) -> None:
    await chat.send("old")
    old = await worker.next()
    await chat.until(lambda turns: [t.state for t in turns] == ["durable"])
    await someone.clear_cookies()
    await chat.send("new")
    new = await worker.next()
    assert new.message.content == "new"
    assert new.message.sender != old.message.sender
    await chat.reload()
    await chat.until(lambda turns: [t.question for t in turns] == ["new"])
    assert await worker.accepted() == 2


async def test_a_refused_message_is_kept_and_can_be_changed(chat: ChatPage, worker: Worker) -> None:
    text = chat.page.get_by_label("Your message")
    await text.evaluate("(e) => { e.removeAttribute('maxlength'); e.value = 'x'.repeat(100_001); }")
    await chat.page.keyboard.press("Enter")
    (turn,) = await chat.until(lambda turns: [t.state for t in turns] == ["refused"])
    assert turn.note.startswith("This message is too long.")
    await chat.send("the next one")
    assert (await worker.next()).message.content == "the next one"
    await chat.reload()
    turns = await chat.until(lambda turns: len(turns) == 2)
    assert {t.state for t in turns} == {"durable", "refused"}
    await chat.page.get_by_role("button", name="Edit").click()
    assert len(await text.input_value()) == 100_001
    await chat.until(lambda turns: [t.question for t in turns] == ["the next one"])
    await chat.reload()
    await chat.until(lambda turns: [t.question for t in turns] == ["the next one"])
    assert await worker.accepted() == 1


async def test_a_gateway_that_cannot_accept_says_so(chat: ChatPage) -> None:
    await chat.page.route("**/state", lambda route: route.fulfill(json={"ready": False}))
    await chat.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await chat.wait_for_status("busy")
    assert await chat.page.get_by_text("Cannot accept messages now.").is_visible()
    await chat.page.unroute_all()
    await chat.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await chat.wait_for_status("ready")
