"""The examples of the channel pages, run as they stand: whoever copies one gets what the page says."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from herald_cli.ports import Ports
from herald_contracts.messages import Message
from herald_contracts.subjects import Names
from herald_runtime.connection import connect
from tests.integration.gateway.delivering import reply
from tests.integration.gateway.running import DEADLINE, Gateway, running
from tests.unit.gateway import samples

PAGES = Path(__file__).parents[3] / "docs" / "channels"


def example(page: str, language: str, containing: str) -> str:
    """The one block of code of a page that contains some text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", (PAGES / page).read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if containing in block]
    return str(found)


async def run(*command: str, **environment: str) -> str:
    """What a command prints; fails with its errors when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode()


@contextlib.asynccontextmanager
async def stream(nats: Any, names: Names) -> AsyncIterator[Any]:
    client = await connect(nats.settings, "test")
    try:
        yield client
    finally:
        await client.close()


@pytest.mark.parametrize("language", ["python", "bash"])
async def test_sending_to_the_hmac_channel(nats: Any, deployment: Names, tmp_path: Path, language: str) -> None:
    if language == "bash":
        for tool in ("bash", "curl", "openssl"):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not installed")
        command = ("bash", "-euc", example("hmac.md", "bash", "curl"))
    else:
        command = (sys.executable, "-c", example("hmac.md", "python", "urllib"))
    gateway = Gateway(tmp_path, nats.settings, deployment)
    async with running(gateway), stream(nats, deployment) as client:
        printed = await run(
            *command, HERALD_URL=f"{gateway.url}/channels/hook/events", HERALD_SECRET=samples.SECRET.decode()
        )
        message = Message.from_wire((await client.jetstream().get_msg(deployment.in_stream, 1)).data)
    answer = json.loads(printed)
    assert answer == {"accepted": True, "id": message.event_id, "message": message.id}
    assert (message.chat, message.sender.id, message.content) == ("room-1", "ada", "Hello!")


async def test_sending_to_the_standard_webhooks_channel(nats: Any, deployment: Names, tmp_path: Path) -> None:
    folder = samples.secret_folder(tmp_path / "standard", secret=samples.WHSEC.encode())
    gateway = Gateway(tmp_path, nats.settings, deployment, channels=(samples.standard_settings(folder),))
    async with running(gateway), stream(nats, deployment) as client:
        await run(
            sys.executable,
            "-c",
            example("standard-webhooks.md", "python", "urllib"),
            HERALD_URL=f"{gateway.url}/channels/standard/events",
            HERALD_SECRET=samples.WHSEC,
        )
        message = Message.from_wire((await client.jetstream().get_msg(deployment.in_stream, 1)).data)
    assert message.event_id.startswith("msg_")
    assert message.content == "Hello!"


async def test_receiving_replies(nats: Any, deployment: Names, tmp_path: Path) -> None:
    port = Ports().pick()
    receiver = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        example("hmac.md", "python", "BaseHTTPRequestHandler"),
        env={"PORT": str(port), "HERALD_SECRET": samples.SECRET.decode()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert receiver.stdout is not None
    gateway = Gateway(tmp_path, nats.settings, deployment, f"http://127.0.0.1:{port}/")
    try:
        async with running(gateway), stream(nats, deployment) as client:
            js = client.jetstream()
            for number in (1, 2):
                await js.publish(deployment.outgoing("hook", f"c{number}"), reply(number).to_wire())
            async with asyncio.timeout(DEADLINE):
                lines = [await receiver.stdout.readline() for _ in range(2)]
                while (await js.stream_info(deployment.receipt_stream)).state.messages < 2:
                    await asyncio.sleep(0.02)
    finally:
        receiver.send_signal(signal.SIGKILL)
        await receiver.wait()
    assert lines == [f"{reply(1).content}\n".encode()] * 2


def test_the_fields_of_the_page_are_those_of_the_code() -> None:
    page = (PAGES / "hmac.md").read_text()
    table = page.partition("### The event")[2].partition("### The signature")[0]
    named = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert named == {*samples.EVENT, "replyTo", "type", "target"}
