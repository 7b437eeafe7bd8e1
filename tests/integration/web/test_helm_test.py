"""The message that `helm test` sends, with the script of its pod, on a real gateway's chat page."""

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.integration.web.stage import Gateway, Worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPT = Path(__file__).parents[3] / "charts" / "herald" / "files" / "check.py"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("helm_test_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


async def test_a_message_is_sent_and_its_answer_read(check: ModuleType, gateway: Gateway, worker: Worker) -> None:
    asking = asyncio.create_task(asyncio.to_thread(check.ask, gateway.url.rstrip("/"), "", "Is anybody there?", 30))
    asked = await worker.next()
    assert asked.message.content == "Is anybody there?"
    await asked.show("Yes")
    await asked.reply("Yes.")
    assert await asking == "Yes."


async def test_a_failure_is_no_answer(check: ModuleType, gateway: Gateway, worker: Worker) -> None:
    asking = asyncio.create_task(asyncio.to_thread(check.ask, gateway.url.rstrip("/"), "", "Hello", 30))
    await (await worker.next()).reply("Something went wrong.", kind="failure")
    with pytest.raises(check.Failed, match="the message failed: Something went wrong"):
        await asking


async def test_nobody_answers(check: ModuleType, gateway: Gateway, worker: Worker) -> None:
    asking = asyncio.create_task(asyncio.to_thread(check.ask, gateway.url.rstrip("/"), "", "Hello", 3))
    await worker.next()
    with pytest.raises(TimeoutError):
        await asking


async def test_a_channel_that_is_not_there(check: ModuleType, gateway: Gateway) -> None:
    with pytest.raises(check.Failed, match="the gateway says 404 to POST /session"):
        await asyncio.to_thread(check.ask, f"{gateway.origin}/channels/other", "", "Hello", 5)
