"""Triton killed, absent, hung: never a hang of ours, and work goes on when it is back."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest

from herald_agent.models import triton as client
from herald_agent.models.create import create_model
from herald_agent.models.ports import Model, ModelDeadline, ModelRefused, ModelUnavailable
from herald_contracts.errors import HeraldError
from herald_contracts.settings import Generation, TritonModel
from tests import servers
from tests.integration.models.subjects import ask, until


@pytest.fixture
async def model(own_triton: servers.Triton) -> AsyncIterator[Model]:
    made = create_model(TritonModel(url=own_triton.grpc, model="scripted"), Generation())
    yield made
    await made.close()


async def begin(model: Model, text: str) -> "asyncio.Task[object]":
    """A generation whose first word has come."""
    begun = asyncio.Event()

    async def show(_: str) -> None:
        begun.set()

    task: asyncio.Task[object] = asyncio.create_task(ask(model, text, on_text=show, deadline=60))
    await begun.wait()
    return task


async def test_a_kill_ends_every_running_answer_at_once_and_a_restart_serves_again(
    own_triton: servers.Triton, model: Model
) -> None:
    running = [await begin(model, "[[endless]] [[delay=0.05]]") for _ in range(4)]
    hanging = await begin(model, "[[hang-after=1]]")
    own_triton.kill()
    for task in (*running, hanging):
        with pytest.raises(ModelUnavailable):
            await asyncio.wait_for(task, 5)
    with pytest.raises(ModelUnavailable):
        await ask(model, "while it is gone", deadline=5)
    assert not await model.ready()
    await own_triton.restart()
    await until(model.ready, "ready again")
    completion, _ = await ask(model, "back")
    assert completion.text == "echo: back"


async def test_a_server_that_hangs_is_noticed_by_its_silence(own_triton: servers.Triton) -> None:
    settings = TritonModel(url=own_triton.grpc, model="scripted")
    model = create_model(settings, Generation(first_token_seconds=0.5, idle_seconds=0.5))
    await ask(model, "connected")
    running = await begin(model, "[[delay=0.05]] [[tokens=100]]")
    own_triton.pause()
    with pytest.raises(ModelDeadline, match="next token"):
        await asyncio.wait_for(running, 5)
    with pytest.raises(ModelDeadline, match="first token"):
        await ask(model, "hello?")
    assert not await model.ready()
    own_triton.resume()
    await until(model.ready, "ready again")
    assert (await ask(model, "back"))[0].text == "echo: back"
    await model.close()


async def test_a_server_that_hangs_is_noticed_by_pings_before_the_silence_is_too_long(
    own_triton: servers.Triton, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {name: 1_000 for name in client.OPTIONS if "keepalive" in name or "ping_timeout" in name}
    monkeypatch.setattr(client, "OPTIONS", {**client.OPTIONS, **quick})
    model = create_model(TritonModel(url=own_triton.grpc, model="scripted"), Generation())
    running = await begin(model, "[[hang-after=1]]")
    own_triton.pause()
    with pytest.raises(ModelUnavailable):
        await asyncio.wait_for(running, 15)
    own_triton.resume()
    await model.close()


async def test_answers_left_at_any_moment_do_not_harm_the_server(own_triton: servers.Triton, model: Model) -> None:
    """Within a few hundred answers Triton 2.51 dies of errors with a gRPC status, and leaks after gRPC cancels."""
    chance = random.Random(7)
    kinds = (
        "[[hang]]",
        "[[endless]]",
        "[[error]]",
        "[[refuse]]",
        "[[delay=0.01]] a b c d",
        "hello",
        "[[error-after=1]]",
    )

    async def leave(number: int) -> None:
        task = asyncio.create_task(ask(model, f"{chance.choice(kinds)} {number}", deadline=chance.uniform(0.01, 0.3)))
        if chance.random() < 0.5:
            await asyncio.wait((task,), timeout=chance.uniform(0, 0.1))
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, HeraldError):
            await task

    for start in range(0, 800, 40):
        await asyncio.gather(*(leave(start + i) for i in range(40)))
    failing = ("[[error]]", "[[refuse]]", "[[error-after=3]] [[delay=0.002]] a b c", "[[error-after=1]] a b")
    errors = [ask(model, f"{chance.choice(failing)} {i}") for i in range(600)]
    outcomes = await asyncio.gather(*errors, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ModelUnavailable, ModelRefused}
    assert own_triton.running
    assert (await ask(model, "well?"))[0].text == "echo: well?"
    await model.close()
    own_triton.stop()
    assert "failed to stop server" not in own_triton.log.read_text(errors="replace")


async def test_closing_ends_what_runs(model: Model) -> None:
    task = await begin(model, "[[hang-after=1]]")
    await model.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        await asyncio.wait_for(task, 5)


async def test_nobody_listening_is_unavailable() -> None:
    model = create_model(TritonModel(url="127.0.0.1:9", model="scripted"), Generation())
    with pytest.raises(ModelUnavailable):
        await ask(model, "hi", deadline=5)
    assert not await model.ready()
    await model.close()
