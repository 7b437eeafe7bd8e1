"""2xx means durable: a gateway process against a NATS that is killed, frozen, full and restarted under it."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from nats.js.api import StreamState

from herald_contracts.messages import Message
from herald_contracts.streams import topology
from herald_contracts.subjects import Names
from herald_operator import messaging
from herald_runtime.connection import connect
from herald_runtime.process import EXIT_CONFIGURATION
from tests.fakes.callback import Mood, Receiver
from tests.integration.gateway.delivering import reply
from tests.integration.gateway.running import DEADLINE, Gateway, running
from tests.unit.gateway import samples
from tests.unit.gateway.test_registry import all_settings

NAMES = Names("test", "own")


@contextlib.asynccontextmanager
async def connection(nats: Any) -> AsyncIterator[NatsClient]:
    client = await connect(nats.settings, "test")
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def streams(nats: Any, storage: int = 256 * 2**20) -> AsyncIterator[NatsClient]:
    """A connection to a NATS of this test's own, with the deployment's streams."""
    async with connection(nats) as client:
        await messaging.ensure(client, topology(NAMES, storage=storage))
        yield client


async def stored(client: NatsClient, names: Names = NAMES) -> StreamState:
    return (await client.jetstream().stream_info(names.in_stream)).state


async def until_connected(client: NatsClient) -> None:
    async with asyncio.timeout(DEADLINE):
        while not client.is_connected:
            await asyncio.sleep(0.02)


async def test_accepted_is_stored_and_a_repetition_is_the_same_message(
    nats: Any, deployment: Names, tmp_path: Path
) -> None:
    async with connection(nats) as nats_client:
        async with running(Gateway(tmp_path, nats.settings, deployment)) as client:
            status, _ = await client.post("event-1")
            assert status == 202
            assert (await stored(nats_client, deployment)).messages == 1
            found = await nats_client.jetstream().get_msg(deployment.in_stream, 1)
            message = Message.from_wire(found.data or b"")
            assert (message.event_id, message.content) == ("event-1", "Hello")
            assert found.subject == deployment.incoming("hook", message.conversation)
            assert [(await client.post("event-1"))[0] for _ in range(3)] == [202] * 3
            assert (await client.post("event-2"))[0] == 202
            assert (await stored(nats_client, deployment)).messages == 2
            _, figures = await client.get("/metrics", private=True)
        samples_ = [line for line in figures.splitlines() if line.startswith("herald_gateway_accepted_total")]
        assert sorted(line.rpartition(" ")[2] for line in samples_) == ["2.0", "3.0"]
        for name in ("requests_total", "accept_duration_seconds_bucket"):
            assert f'herald_gateway_{name}{{channel="hook"' in figures


async def test_without_nats_no_2xx_and_with_it_again(own_nats: Any, tmp_path: Path) -> None:
    async with (
        streams(own_nats) as nats_client,
        running(Gateway(tmp_path, own_nats.settings, NAMES, publish_deadline=0.4)) as client,
    ):
        assert (await client.post("event-1"))[0] == 202
        own_nats.kill()
        status, headers = await client.post("event-2")
        assert (status, headers["Retry-After"]) == (503, "2")
        await client.until("/healthz/ready", 503)
        assert (await client.get("/healthz/live"))[0] == 200
        await own_nats.restart()
        await client.until("/healthz/ready", 200)
        assert (await client.post("event-2"))[0] == 202
        await until_connected(nats_client)
        assert (await stored(nats_client)).messages == 2


async def test_a_frozen_nats_is_no_2xx_and_the_retry_no_second_message(own_nats: Any, tmp_path: Path) -> None:
    async with (
        streams(own_nats) as nats_client,
        running(Gateway(tmp_path, own_nats.settings, NAMES, publish_deadline=0.4)) as client,
    ):
        own_nats.pause()
        status, headers = await client.post("event-1")
        own_nats.resume()
        assert (status, headers["Retry-After"]) == (503, "2")
        async with asyncio.timeout(DEADLINE):
            while (await client.post("event-1"))[0] != 202:
                await asyncio.sleep(0.05)
        assert (await stored(nats_client)).messages == 1


async def test_a_short_restart_of_nats_costs_the_caller_nothing(own_nats: Any, tmp_path: Path) -> None:
    async with (
        streams(own_nats) as nats_client,
        running(Gateway(tmp_path, own_nats.settings, NAMES, publish_deadline=9.5)) as client,
    ):
        own_nats.kill()
        begun = asyncio.Event()
        posting = asyncio.create_task(client.post("event-1", begun=begun))
        await begun.wait()
        await own_nats.restart()
        assert (await posting)[0] == 202
        await until_connected(nats_client)
        assert (await stored(nats_client)).messages == 1


async def test_a_full_stream_is_a_503_and_not_ready(own_nats: Any, tmp_path: Path) -> None:
    async with (
        streams(own_nats, storage=64 * 1024) as nats_client,
        running(Gateway(tmp_path, own_nats.settings, NAMES)) as client,
    ):
        accepted = 0
        async with asyncio.timeout(DEADLINE):
            while (answer := await client.post(f"event-{accepted}", text="x" * 2_000))[0] == 202:
                accepted += 1
        assert answer[0] == 503
        assert answer[1]["Retry-After"] == "30"
        assert accepted > 1
        assert (await stored(nats_client)).messages == accepted
        assert "full" in await client.until("/healthz/ready", 503)
        assert (await client.post("event-0", text="x" * 2_000))[0] == 202  # that one is in there


async def test_alive_at_once_and_ready_when_nats_and_its_stream_are_there(own_nats: Any, tmp_path: Path) -> None:
    own_nats.kill()
    async with running(Gateway(tmp_path, own_nats.settings, NAMES), ready=False) as client:
        assert "not connected" in (await client.get("/healthz/ready"))[1]
        assert (await client.post("event-1"))[0] == 503
        await own_nats.restart()
        async with asyncio.timeout(DEADLINE):
            while "does not exist" not in (await client.get("/healthz/ready"))[1]:
                await asyncio.sleep(0.05)
        async with streams(own_nats):
            await client.until("/healthz/ready", 200)
            assert (await client.post("event-1"))[0] == 202


async def test_sigterm_answers_what_it_has_begun_and_loses_nothing(own_nats: Any, tmp_path: Path) -> None:
    async with streams(own_nats) as nats_client:
        gateway = Gateway(tmp_path, own_nats.settings, NAMES, publish_deadline=9)
        async with running(gateway) as client:
            assert (await client.post("before"))[0] == 202
            own_nats.pause()
            begun = [asyncio.Event() for _ in range(10)]
            posting = [asyncio.create_task(client.post(f"event-{n}", begun=begun[n])) for n in range(10)]
            for event in begun:
                await event.wait()
            gateway.signal(signal.SIGTERM)
            await gateway.until_logged("draining")
            async with asyncio.timeout(DEADLINE):
                while (await client.get("/healthz/live"))[0] != 0:
                    await asyncio.sleep(0.02)  # new connections are refused
            await asyncio.sleep(1)  # NATS stays away for longer than an impatient server would wait
            own_nats.resume()
            assert [status for status, _ in await asyncio.gather(*posting)] == [202] * 10
            assert await gateway.ended() == 0
        assert (await stored(nats_client)).messages == 11


async def test_sigterm_ends_a_delivery_in_progress_and_leaves_the_rest_to_others(
    nats: Any, deployment: Names, tmp_path: Path
) -> None:
    async with connection(nats) as nats_client:
        js = nats_client.jetstream()
        async with Receiver(samples.SECRET) as receiver:
            receiver.mood = Mood(delay=0.5)
            first = Gateway(tmp_path / "1", nats.settings, deployment, receiver.url, deliveries_in_flight=2)
            second = Gateway(tmp_path / "2", nats.settings, deployment, receiver.url)
            async with running(first):
                for number in range(12):
                    await js.publish(deployment.outgoing("hook", f"c{number}"), reply(number).to_wire())
                await receiver.until(lambda r: len(r.posts) >= 1)
                first.signal(signal.SIGTERM)
                assert await first.ended() == 0
            by_first = len(receiver.posts)
            assert by_first < 12
            async with running(second):
                await receiver.until(lambda r: len(r.replies()) == 12)
                async with asyncio.timeout(DEADLINE):
                    while (await js.stream_info(deployment.receipt_stream)).state.messages < 12:
                        await asyncio.sleep(0.02)
        assert receiver.replies() == {reply(n).id: 1 for n in range(12)}


async def test_a_gateway_killed_in_the_middle_is_taken_over(nats: Any, deployment: Names, tmp_path: Path) -> None:
    async with connection(nats) as nats_client:
        js = nats_client.jetstream()
        async with Receiver(samples.SECRET) as receiver:
            receiver.moods.append(Mood(delay=60))  # the first one never hears the end of it
            first = Gateway(tmp_path / "1", nats.settings, deployment, receiver.url)
            async with running(first):
                await js.publish(deployment.outgoing("hook", "c1"), reply(1).to_wire())
                await receiver.until(lambda r: len(r.posts) == 1)
                first.signal(signal.SIGKILL)
                await first.ended()
            async with running(Gateway(tmp_path / "2", nats.settings, deployment, receiver.url)):
                await receiver.until(lambda r: len(r.posts) == 2)
        assert {post.reply for post in receiver.posts} == {reply(1).id}
        assert [post.headers["herald-attempt"] for post in receiver.posts] == ["1", "2"]


async def test_what_it_logs_is_json_without_bodies_and_secrets(nats: Any, deployment: Names, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, nats.settings, deployment, log_level="debug")
    async with running(gateway) as client:
        assert (await client.post("event-1", text="a very private word"))[0] == 202
        assert (await client.post("event-2", sender={"id": 7}, text="a very private word"))[0] == 400
        gateway.signal(signal.SIGTERM)
        await gateway.ended()
    assert {"listening", "accepting", "draining", "left", "refused"} <= {line["event"] for line in gateway.lines()}
    text = gateway.log.read_text()
    assert "private" not in text
    assert samples.SECRET.decode() not in text
    assert "Traceback" not in text


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "herald_gateway", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_taken_port_is_said_in_one_line(nats: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = Gateway(tmp_path, nats.settings, NAMES, port=taken.getsockname()[1])
        ended = command("--settings", str(gateway.file))
    assert ended.returncode == EXIT_CONFIGURATION
    assert f"port {gateway.port} is taken" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{}", '{"namespace": "x", "instuctions": 1}'])
def test_settings_that_cannot_work_are_said_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    for arguments in (("--settings", str(file)), ("--settings", str(file), "--print-config")):
        ended = command(*arguments)
        assert ended.returncode == EXIT_CONFIGURATION
        assert str(file) in ended.stderr
        assert len(ended.stderr.splitlines()) == 1


def test_the_settings_in_force_can_be_printed(nats: Any, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, nats.settings, NAMES)
    printed = command("--settings", str(gateway.file), "--print-config")
    assert printed.returncode == 0
    assert type(gateway.settings).model_validate_json(printed.stdout) == gateway.settings
    assert samples.SECRET.decode() not in printed.stdout


def test_help_answers() -> None:
    answered = command("--help")
    assert answered.returncode == 0
    assert "--settings FILE" in answered.stdout


async def test_a_wrong_password_is_waited_out_and_said(own_nats: Any, tmp_path: Path) -> None:
    folder = samples.secret_folder(tmp_path / "wrong", user=b"herald", password=b"not this one")
    wrong = own_nats.settings.model_copy(update={"credentials": folder})
    gateway = Gateway(tmp_path, wrong, NAMES)
    async with running(gateway, ready=False) as client, streams(own_nats):
        await gateway.until_logged("waiting for NATS")
        assert (await client.get("/healthz/ready"))[0] == 503
        (folder / "password").write_bytes((own_nats.settings.credentials / "password").read_bytes())
        await client.until("/healthz/ready", 200)
    assert "not this one" not in gateway.log.read_text()


async def test_every_type_of_channel_in_one_process(nats: Any, deployment: Names, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, nats.settings, deployment, channels=all_settings(tmp_path))
    async with running(gateway) as client:
        assert (await client.post("event-1"))[0] == 202
        status, page = await client.get("/")  # follows the redirect to the chat page
        assert status == 200
        assert "<html" in page
        for name in ("web", "standard", "feishu"):
            assert (await client.get(f"/channels/{name}/events"))[0] == 405
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended() == 0
    assert "Traceback" not in gateway.log.read_text()
