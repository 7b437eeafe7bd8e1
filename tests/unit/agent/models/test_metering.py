"""Every generation is counted, the failed ones with their error."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from herald_agent.models import metering
from herald_agent.models.metering import MeteredModel
from herald_agent.models.ports import ChatMessage, ModelUnavailable
from herald_agent.models.scripted import ScriptedModel

LABELS = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "triton", "gen_ai.request.model": "m"}


class Recorder:
    def __init__(self) -> None:
        self.values: list[tuple[float, Mapping[str, Any]]] = []

    def record(self, value: float, attributes: Mapping[str, Any]) -> None:
        self.values.append((value, attributes))


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorder]:
    made = {name: Recorder() for name in ("_duration", "_first_chunk", "_tokens")}
    for name, recorder in made.items():
        monkeypatch.setattr(metering, name, recorder)
    return made


async def ignore(_: str) -> None:
    return None


def metered() -> MeteredModel:
    return MeteredModel(ScriptedModel(), provider="triton", name="m")


async def test_an_answer_counts_its_time_and_tokens(recorders: dict[str, Recorder]) -> None:
    shown: list[str] = []

    async def show(text: str) -> None:
        shown.append(text)

    completion = await metered().generate([ChatMessage("user", "hi")], deadline=5, on_text=show, request_id="r")
    assert completion.text == shown[-1] == "echo: hi"
    assert [labels for _, labels in recorders["_duration"].values] == [LABELS]
    assert [labels for _, labels in recorders["_first_chunk"].values] == [LABELS]
    assert recorders["_tokens"].values == [(2, {**LABELS, "gen_ai.token.type": "output"})]


@pytest.mark.parametrize(
    ("message", "error", "first_chunks"),
    [("[[error]]", ModelUnavailable, 0), ("[[error-after=1]]", ModelUnavailable, 1)],
)
async def test_a_failure_counts_as_what_it_was(
    recorders: dict[str, Recorder], message: str, error: type[Exception], first_chunks: int
) -> None:
    with pytest.raises(error):
        await metered().generate([ChatMessage("user", message)], deadline=5, on_text=ignore, request_id="r")
    assert [labels for _, labels in recorders["_duration"].values] == [{**LABELS, "error.type": error.__name__}]
    assert len(recorders["_first_chunk"].values) == first_chunks
    assert recorders["_tokens"].values == []


async def test_a_cancel_is_counted_too(recorders: dict[str, Recorder]) -> None:
    begun = asyncio.Event()

    async def show(_: str) -> None:
        begun.set()

    messages = [ChatMessage("user", "[[hang-after=1]]")]
    task = asyncio.create_task(metered().generate(messages, deadline=5, on_text=show, request_id="r"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [labels["error.type"] for _, labels in recorders["_duration"].values] == ["CancelledError"]
