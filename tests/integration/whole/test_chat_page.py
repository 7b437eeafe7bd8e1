"""The chat page in a real browser, with the whole of Herald behind it."""

from pathlib import Path

import pytest

from tests.browser import ChatPage, chromium, person
from tests.world import world


@pytest.mark.timeout(300)
async def test_a_person_chats_reloads_and_a_worker_dies(tmp_path: Path) -> None:
    async with chromium() as browser, world(tmp_path) as whole:
        chat = await ChatPage.open(await person(browser), f"{whole.url}/channels/web/")
        await chat.send("remember that my bicycle is green")
        assert "bicycle is green" in (await chat.answer_to("remember that my bicycle is green")).text

        # Seen as it grows, gone with a reload, there again: once.
        slow = "one two three four five six seven [[delay=0.3]]"
        await chat.send(slow)
        await chat.until(lambda turns: any(a.state == "writing" for a in turns[-1].answers))
        await chat.reload()
        assert (await chat.answer_to(slow)).text == "echo: one two three four five six seven"

        # Both workers die in mid-sentence, and the gateway with them.
        last = "are you still there? [[first=1]] [[delay=0.2]]"
        await chat.send(last)
        await chat.until(lambda turns: any(a.state == "writing" for a in turns[-1].answers))
        for part in ("agent-1", "agent-2", "gateway"):
            await whole.kill(part)
        assert (await chat.answer_to(last, seconds=60)).text == "echo: are you still there?"

        await chat.reload()
        turns = await chat.until(lambda turns: len(turns) == 3)
        assert [len(turn.answers) for turn in turns] == [1, 1, 1]
        counts = await whole.until_settled()
        assert counts["accepted"] == counts["answered"] == 3
