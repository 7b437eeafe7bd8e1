"""A conversation on the page, from the first word to the last."""

import asyncio

import pytest
from playwright.async_api import Browser, BrowserContext, Route

from herald_contracts import identity
from tests.browser import ChatPage, person
from tests.integration.web.stage import Asked, Gateway, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_answer_grows_survives_a_reload_and_is_shown_once(chat: ChatPage, worker: Worker) -> None:
    await chat.send("What is **Herald**?")
    asked = await worker.next()
    assert asked.message.content == "What is **Herald**?"
    (turn,) = await chat.until(lambda turns: [t.state for t in turns] == ["durable"])
    assert (turn.question, turn.note, turn.waiting) == ("What is **Herald**?", "", "Thinking…")

    await asked.show("Agents in")
    await chat.until(lambda turns: [a.text for a in turns[0].answers] == ["Agents in"])
    await asked.show("Agents in **team chat**")
    (turn,) = await chat.until(lambda turns: turns[0].answers[0].text == "Agents in team chat")
    assert turn.answers[0].state == "writing"
    assert "<strong>team chat</strong>" in turn.answers[0].html
    assert turn.waiting == ""

    await chat.reload()
    (turn,) = await chat.until(lambda turns: [a.text for t in turns for a in t.answers] == ["Agents in team chat"])
    assert turn.question == "What is **Herald**?"
    await asked.show("Agents in **team chat**, and")
    await chat.until(lambda turns: turns[0].answers[0].text.endswith("and"))

    await asked.reply("Agents in **team chat**, and *none* is lost.")
    answer = await chat.answer_to("What is **Herald**?")
    assert (answer.state, answer.text) == ("answer", "Agents in team chat, and none is lost.")
    await asked.show("A late word of a dead worker")
    shown = await chat.turns()
    await chat.reload()
    after = await chat.until(lambda turns: len(turns) == 1 and len(turns[0].answers) == 1)
    assert after == shown
    assert after[0].answers == (answer,)
    assert await worker.accepted() == 1


async def test_a_late_word_after_the_answer_changes_nothing(chat: ChatPage, worker: Worker) -> None:
    await chat.send("one")
    asked = await worker.next()
    await asked.reply("done")
    await chat.answer_to("one")
    # Put aside and shown again: a new connection, which has not brought the answer. Only the page knows of it.
    async with chat.page.expect_request("**/stream?*"):
        await chat.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    await chat.wait_for_status("ready")
    await asked.show("not done yet")
    await asyncio.sleep(0.3)  # longer than an update is held back: a page that is wrong has the time to show it
    await chat.send("two")
    await (await worker.next()).show("second")
    turns = await chat.until(lambda turns: len(turns) == 2 and len(turns[1].answers) == 1)
    assert [a.text for a in turns[0].answers] == ["done"]


async def test_an_answer_that_comes_before_its_message_is_put_below_it(chat: ChatPage, worker: Worker) -> None:
    """The transcript is made of two streams, and after a restart the server may catch up with either first."""
    await chat.send("first")
    first = await worker.next()
    event = f"{first.message.sender.id}.later"
    copy = first.message.model_copy(
        update={"id": identity.message_id("web", event), "event_id": event, "content": "the message"}
    )
    later = Asked(worker, copy)
    await later.reply("the answer")
    await chat.until(lambda turns: len(turns) == 2 and turns[1].question is None)
    subject = worker.names.incoming(copy.channel, copy.conversation)
    await worker.publisher.publish(subject, copy.to_wire(), copy.id, deadline=10)
    await chat.until(lambda turns: len(turns) == 2 and turns[1].question == "the message")
    assert (await chat.answer_to("the message")).text == "the answer"
    await first.reply("done")
    assert (await chat.answer_to("first")).text == "done"


async def test_what_is_being_written_survives_a_reload(chat: ChatPage) -> None:
    await chat.write("half a thou")
    await chat.reload()
    assert await chat.page.get_by_label("Your message").input_value() == "half a thou"
    assert await chat.page.get_by_role("button", name="Send").is_enabled()


async def test_a_worker_that_begins_again_takes_its_words_back(chat: ChatPage, worker: Worker) -> None:
    await chat.send("one")
    asked = await worker.next()
    await asked.show("A first try that")
    await chat.until(lambda turns: [a.text for a in turns[0].answers] == ["A first try that"])
    await asked.show("", "retrying")
    await chat.until(lambda turns: not turns[0].answers and turns[0].waiting == "Trying again…")
    await asked.show("A second")
    await asked.reply("A second try.")
    assert (await chat.answer_to("one")).text == "A second try."


async def test_answers_stand_below_their_messages(chat: ChatPage, worker: Worker) -> None:
    questions = ["one", "two", "three"]
    for question in questions:
        await chat.send(question)
    asked = [await worker.next() for _ in questions]
    assert [a.message.content for a in asked] == questions
    turns = await chat.until(lambda turns: [t.state for t in turns] == ["durable"] * 3)
    assert [t.waiting for t in turns] == ["Thinking…", "Next in line", "Next in line"]
    await asked[0].reply("first")
    await chat.until(lambda turns: turns[1].waiting == "Thinking…")
    await asked[2].reply("third")
    await asked[1].reply("second")
    expected = [("one", "first"), ("two", "second"), ("three", "third")]
    await chat.until(lambda turns: [(t.question, a.text) for t in turns for a in t.answers] == expected)
    await chat.reload()
    await chat.until(lambda turns: [(t.question, a.text) for t in turns for a in t.answers] == expected)


async def test_a_failure_says_what_to_do(chat: ChatPage, worker: Worker) -> None:
    await chat.send("difficult")
    await (await worker.next()).reply("The model did not answer in time.", "failure")
    answer = await chat.answer_to("difficult")
    assert (answer.state, answer.text) == ("failure", "The model did not answer in time.")
    assert await chat.page.get_by_text("No answer to this message").is_visible()
    await chat.page.get_by_role("button", name="Ask again").click()
    assert await chat.page.get_by_label("Your message").input_value() == "difficult"


async def test_two_tabs_show_one_conversation(
    someone: BrowserContext, chat: ChatPage, gateway: Gateway, worker: Worker
) -> None:
    other = await ChatPage.open(someone, gateway.url)
    await chat.send("from the first")
    first = await worker.next()
    await other.until(lambda turns: [t.question for t in turns] == ["from the first"])
    await other.send("from the second")
    second = await worker.next()
    assert first.message.conversation == second.message.conversation
    await first.show("half")
    for tab in (chat, other):
        await tab.until(lambda turns: len(turns) == 2 and [a.text for a in turns[0].answers] == ["half"])
    await first.reply("whole")
    await second.reply("also")
    for tab in (chat, other):
        turns = await tab.until(lambda turns: len(turns) == 2 and all(t.answers for t in turns))
        await tab.answer_to("from the first")
        await tab.answer_to("from the second")
        assert [t.question for t in turns] == ["from the first", "from the second"]
    assert await chat.turns() == await other.turns()
    assert await worker.accepted() == 2
    assert other.errors == []


async def test_what_is_not_accepted_yet_comes_after_what_is(
    someone: BrowserContext, chat: ChatPage, gateway: Gateway, worker: Worker
) -> None:
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    other = await ChatPage.open(someone, gateway.url)
    await chat.page.route("**/events", hold)
    await chat.send("written first")
    await chat.until(lambda turns: [t.state for t in turns] == ["sending"])
    await other.send("accepted first")
    await chat.until(lambda turns: [t.question for t in turns] == ["accepted first", "written first"])
    released.set()
    await chat.until(lambda turns: [t.state for t in turns] == ["durable", "durable"])
    await other.until(lambda turns: [t.question for t in turns] == ["accepted first", "written first"])
    assert [(await worker.next()).message.content for _ in range(2)] == ["accepted first", "written first"]


async def test_a_fifth_tab_lets_the_first_rest(someone: BrowserContext, gateway: Gateway) -> None:
    tabs = [await ChatPage.open(someone, gateway.url) for _ in range(5)]
    await tabs[0].wait_for_status("offline")
    assert await tabs[0].page.get_by_text("Open in too many tabs").is_visible()
    assert [await tab.status() for tab in tabs[1:]] == ["ready"] * 4
    await tabs[0].page.get_by_role("button", name="Continue here").click()
    await tabs[0].wait_for_status("ready")
    await tabs[1].wait_for_status("offline")


async def test_a_new_conversation_is_another_of_the_same_person(chat: ChatPage, worker: Worker) -> None:
    await chat.send("old")
    old = await worker.next()
    await old.reply("old answer")
    await chat.answer_to("old")
    await chat.page.get_by_role("button", name="New conversation").click()
    await chat.wait_for_status("ready")
    await chat.until(lambda turns: not turns)
    await chat.send("new")
    new = await worker.next()
    assert new.message.sender == old.message.sender
    assert new.message.conversation != old.message.conversation
    await chat.reload()
    await chat.until(lambda turns: [t.question for t in turns] == ["new"])
    await chat.page.go_back()
    assert (await chat.answer_to("old")).text == "old answer"
    await chat.page.go_forward()
    await chat.until(lambda turns: [t.question for t in turns] == ["new"])


async def test_strangers_do_not_meet(browser: Browser, chat: ChatPage, gateway: Gateway, worker: Worker) -> None:
    await chat.send("mine")
    await (await worker.next()).reply("my answer")
    await chat.answer_to("mine")
    stranger = await ChatPage.open(await person(browser), gateway.url)
    await stranger.send("theirs")
    theirs = await worker.next()
    turns = await stranger.until(lambda turns: [t.state for t in turns] == ["durable"])
    assert [t.question for t in turns] == ["theirs"]
    await theirs.reply("their answer")
    await stranger.answer_to("theirs")
    assert [t.question for t in await chat.turns()] == ["mine"]


async def test_enter_sends_and_shift_enter_does_not(chat: ChatPage, worker: Worker) -> None:
    text = chat.page.get_by_label("Your message")
    await text.press_sequentially("one")
    await chat.page.keyboard.press("Shift+Enter")
    await text.press_sequentially("two")
    # Enter that chooses a word in an input method (as in Chinese or Japanese) is not the Enter that sends.
    await text.evaluate(
        """(e) => e.dispatchEvent(new KeyboardEvent("keydown",
               { key: "Enter", isComposing: true, bubbles: true, cancelable: true }))"""
    )
    assert await text.input_value() == "one\ntwo"
    await chat.page.keyboard.press("Enter")
    assert (await worker.next()).message.content == "one\ntwo"
    assert await text.input_value() == ""
    await chat.page.keyboard.press("Enter")
    await chat.send("   ")
    await chat.send("three")
    assert (await worker.next()).message.content == "three"
    assert await worker.accepted() == 2


async def test_any_script_comes_back_as_it_was_written(chat: ChatPage, worker: Worker) -> None:
    texts = [
        "שלום עולם",
        "مرحبا **بك**",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "zero\u200bwi\ufeffdth",
        "a\u202eb",
        "line one\n\n  indented\ttab",
        "&amp; <b>",
    ]
    for number, text in enumerate(texts):
        await chat.send(text)
        asked = await worker.next()
        assert asked.message.content == text
        await asked.reply(text)
        await chat.until(lambda turns, n=number: len(turns) == n + 1 and turns[n].answers != ())  # type: ignore[misc]
        assert await chat.page.locator(".bubble .verbatim").nth(number).text_content() == text


async def test_nothing_is_wider_than_the_screen(browser: Browser, gateway: Gateway, worker: Worker) -> None:
    chat = await ChatPage.open(await person(browser, width=320, height=700, color_scheme="dark"), gateway.url)
    await chat.send("w" * 300)
    asked = await worker.next()
    table = "|" + "a long heading|" * 12 + "\n|" + "-|" * 12 + "\n|" + "cell|" * 12
    await asked.reply(f"{'u' * 300}\n\n```\n{'c' * 300}\n```\n\n{table}\n\n<https://a.example/{'p' * 300}>")
    await chat.answer_to("w" * 300)
    for width in (320, 390, 1_400):
        await chat.page.set_viewport_size({"width": width, "height": 700})
        outside = """(width) => [...document.querySelectorAll("body *")]
            .filter((e) => !e.closest("pre, table, .unseen"))
            .filter((e) => e.getBoundingClientRect().right > width || e.getBoundingClientRect().left < 0)
            .map((e) => e.outerHTML.slice(0, 100))"""
        assert await chat.page.evaluate(outside, width) == []
        assert await chat.page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert await chat.page.get_by_role("button", name="Send").is_visible()
    assert chat.errors == []


async def test_a_long_conversation_stays_at_its_end_until_someone_scrolls(chat: ChatPage, worker: Worker) -> None:
    async def scrolled_to_end() -> None:
        script = "(e) => e.scrollHeight > 1500 && e.scrollHeight - e.scrollTop - e.clientHeight < 5"
        async with asyncio.timeout(20):
            while not await scroller.evaluate(script):
                await asyncio.sleep(0.02)

    scroller = chat.page.get_by_role("main")
    newest = chat.page.get_by_role("button", name="Newest messages")
    long = "\n\n".join(f"Paragraph {n}." for n in range(60))
    await chat.send("go on")
    asked = await worker.next()
    await asked.show(long)
    await scrolled_to_end()
    assert not await newest.is_visible()
    await scroller.evaluate("(e) => { e.scrollTop = 100; }")
    await newest.wait_for()
    await asked.show(long + "\n\nMore.")
    await chat.page.get_by_text("More.").wait_for(state="attached")
    assert await scroller.evaluate("(e) => e.scrollTop") == 100
    await newest.click()
    await scrolled_to_end()
    await asked.reply(long + "\n\nMore.\n\nThe end.")
    await chat.answer_to("go on")
    await scrolled_to_end()


async def test_who_cannot_see_it_can_use_it(browser: Browser, gateway: Gateway, worker: Worker) -> None:
    chat = await ChatPage.open(await person(browser, reduced_motion="reduce"), gateway.url)
    page = chat.page
    for role, name in (("banner", None), ("main", "Conversation"), ("contentinfo", None), ("log", "Messages")):
        found = page.get_by_role(role, name=name) if name else page.get_by_role(role)  # type: ignore[arg-type]
        assert await found.count() == 1
    assert await page.get_by_role("heading", level=1).inner_text() == "Herald"
    assert await page.evaluate("document.activeElement.id") == "text"
    await chat.send("hello")
    asked = await worker.next()
    await chat.until(lambda turns: turns[0].waiting == "Thinking…")
    assert await page.locator(".dots i").first.evaluate("(dot) => getComputedStyle(dot).animationName") == "none"
    await asked.show("Hi")
    await chat.until(lambda turns: len(turns[0].answers) == 1)
    # Only the whole answer is read out, not each of its steps.
    announced = page.locator("#announcer")
    assert await announced.inner_text() == ""
    await asked.reply("Hi **there**\n\n```\ncode\n```")
    await page.get_by_text("Answer: Hi **there**").wait_for(state="attached")
    seen = set()
    for _ in range(12):
        await page.keyboard.press("Tab")
        seen.add(await page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"text", "new", "scroll", "PRE", "BUTTON"} <= seen
