"""The chat page as a person meets it: a real Chromium, headless, and a driver that speaks of turns and answers.

Chromium is Debian's (`apt-get install chromium`); nothing is downloaded. Where there is none these tests are
skipped and say so, unless HERALD_REQUIRE_PACKAGES=1 is set, as it is in CI.
"""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page, async_playwright

from tests.debian import missing

SECONDS = 30.0
_COMMANDS = ("chromium", "chromium-browser", "google-chrome")
_TURNS = """() => [...document.querySelectorAll("#log > .turn")].map((turn) => ({
    question: turn.querySelector(".said").hidden ? null : turn.querySelector(".bubble").innerText.trim(),
    state: turn.querySelector(".said").dataset.state ?? "",
    note: turn.querySelector(".said .state").innerText.trim(),
    waiting: turn.querySelector(".waiting").hidden ? "" : turn.querySelector(".waiting").innerText.trim(),
    answers: [...turn.querySelectorAll(".answer")].map((answer) => ({
        state: answer.dataset.state ?? "",
        text: answer.querySelector(".text").innerText.trim(),
        html: answer.querySelector(".text").innerHTML.trim(),
    })),
}))"""


@dataclass(frozen=True, slots=True)
class Answer:
    state: str  # writing, answer or failure
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message on the screen and what is below it. `state` is how far the message itself has come."""

    question: str | None
    state: str
    note: str
    waiting: str
    answers: tuple[Answer, ...]


def find_chromium() -> Path:
    """The browser to use. Skips the test, or fails it where a browser is required."""
    found = os.environ.get("HERALD_CHROMIUM") or next(filter(None, map(shutil.which, _COMMANDS)), None)
    if not found:
        missing("no Chromium on this machine: apt-get install chromium, or name one in HERALD_CHROMIUM")
    return Path(found)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser without any profile; each `person` in it has their own cookies."""
    path = find_chromium()
    async with async_playwright() as playwright:
        # No sandbox: it needs rights that a container often lacks, and it only ever sees our own page.
        browser = await playwright.chromium.launch(
            executable_path=path, chromium_sandbox=False, args=["--disable-background-networking", "--no-first-run"]
        )
        try:
            yield browser
        finally:
            await browser.close()


async def person(
    browser: Browser,
    *,
    width: int = 1_000,
    height: int = 800,
    color_scheme: Literal["light", "dark"] = "light",
    reduced_motion: Literal["reduce", "no-preference"] = "no-preference",
) -> BrowserContext:
    """Someone with cookies and a screen of their own. Pages opened in it are this person's tabs."""
    return await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=color_scheme, reduced_motion=reduced_motion
    )


class ChatPage:
    """One tab with the chat page."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []  # scripts that failed, and whatever the content security policy stopped
        self.asked: list[str] = []  # every address the page asked for
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("request", lambda request: self.asked.append(request.url))

    @classmethod
    async def open(cls, who: BrowserContext, url: str, *, ready: bool = True) -> "ChatPage":
        """A new tab on the chat page at `url`; with `ready`, once it shows its conversation."""
        chat = cls(await who.new_page(), url)
        await chat.page.goto(url)
        if ready:
            await chat.wait_for_status("ready")
        return chat

    async def reload(self) -> None:
        await self.page.reload()
        await self.wait_for_status("ready")

    async def write(self, text: str) -> None:
        await self.page.get_by_label("Your message").fill(text)

    async def send(self, text: str) -> None:
        """Write and press Enter. Does not wait for anything to be accepted."""
        await self.write(text)
        await self.page.keyboard.press("Enter")

    async def status(self) -> str:
        """connecting, ready, busy, offline or failed."""
        return await self.page.locator("#status").get_attribute("data-state") or ""

    async def wait_for_status(self, *wanted: str, seconds: float = SECONDS) -> None:
        until = time.monotonic() + seconds
        while (found := await self.status()) not in wanted:
            if time.monotonic() > until:
                raise AssertionError(f"the page is {found!r}, not {' or '.join(wanted)}, after {seconds:g} s")
            await asyncio.sleep(0.02)

    async def turns(self) -> tuple[Turn, ...]:
        found = await self.page.evaluate(_TURNS)
        return tuple(Turn(**{**turn, "answers": tuple(Answer(**a) for a in turn["answers"])}) for turn in found)

    async def until(self, check: Callable[[Sequence[Turn]], bool], seconds: float = SECONDS) -> tuple[Turn, ...]:
        """The turns, as soon as `check` holds for them. Fails showing what there was instead."""
        until = time.monotonic() + seconds
        while True:
            turns: tuple[Turn, ...] = ()
            # A page that is being loaded has no turns to look at.
            with contextlib.suppress(Error):
                turns = await self.turns()
                if check(turns):
                    return turns
            if time.monotonic() > until:
                shown = "\n".join(map(str, turns)) or "(nothing)"
                raise AssertionError(f"not shown within {seconds:g} s; the page shows\n{shown}")
            await asyncio.sleep(0.02)

    async def answer_to(self, question: str, seconds: float = SECONDS) -> Answer:
        """The final answer to the one turn that asked `question`, once it is there."""

        def answered(turns: Sequence[Turn]) -> bool:
            found = [turn for turn in turns if turn.question == question]
            return len(found) == 1 and [a.state in ("answer", "failure") for a in found[0].answers] == [True]

        turns = await self.until(answered, seconds)
        return next(turn for turn in turns if turn.question == question).answers[0]

    def _console(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.errors.append(message.text)
