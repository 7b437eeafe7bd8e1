"""The same model behind the same port, three ways: in process, in a real Triton, behind an OpenAI-style endpoint."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from herald_agent.models.create import create_model
from herald_agent.models.ports import ChatMessage, Completion, Model
from herald_agent.models.scripted import ScriptedModel
from herald_contracts.settings import Generation, OpenAiModel, TritonModel
from tests.fakes.openai import FakeOpenAi

NAMES = ("scripted", "triton", "openai")


class Subject(Protocol):
    """A place where models of the script are served."""

    def model(self, generation: Generation | None = None) -> Model: ...

    async def report(self) -> Mapping[str, int]:
        """How many generations are running, finished, failed, cancelled at the server."""
        ...


async def ask(
    model: Model,
    text: str,
    *,
    deadline: float = 20,
    on_text: Callable[[str], Awaitable[None]] | None = None,
    before: Sequence[ChatMessage] = (),
) -> tuple[Completion, list[str]]:
    """The answer to `text`, and every text that was shown on the way."""
    shown: list[str] = []

    async def show(so_far: str) -> None:
        shown.append(so_far)
        if on_text is not None:
            await on_text(so_far)

    completion = await model.generate(
        [*before, ChatMessage("user", text)], deadline=deadline, on_text=show, request_id="test"
    )
    return completion, shown


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 10) -> None:
    """Wait for a condition; fail by its name."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        await asyncio.sleep(0.01)


async def idle(subject: Subject) -> bool:
    return (await subject.report())["running"] == 0


class InProcess:
    def __init__(self) -> None:
        self._models: list[ScriptedModel] = []

    def model(self, generation: Generation | None = None) -> Model:
        self._models.append(ScriptedModel(generation))
        return self._models[-1]

    async def report(self) -> Mapping[str, int]:
        keys = ("running", "finished", "failed", "cancelled")
        return {key: sum(model.backend.counters[key] for model in self._models) for key in keys}


class InTriton:
    def __init__(self, address: str) -> None:
        self._settings = TritonModel(url=address, model="scripted")
        self._models: list[Model] = []

    def model(self, generation: Generation | None = None) -> Model:
        self._models.append(create_model(self._settings, generation or Generation()))
        return self._models[-1]

    async def report(self) -> Mapping[str, int]:
        model = create_model(self._settings, Generation())
        completion, _ = await ask(model, "[[report]]")
        await model.close()
        counters: dict[str, int] = json.loads(completion.text)
        return counters

    async def close(self) -> None:
        for model in self._models:
            await model.close()


class BehindHttp:
    def __init__(self, fake: FakeOpenAi) -> None:
        self._fake = fake
        self._models: list[Model] = []

    def model(self, generation: Generation | None = None) -> Model:
        settings = OpenAiModel(base_url=self._fake.url, model="fake")
        self._models.append(create_model(settings, generation or Generation()))
        return self._models[-1]

    async def report(self) -> Mapping[str, int]:
        return {key: self._fake.counters[key] for key in ("running", "finished", "failed", "cancelled")}

    async def close(self) -> None:
        for model in self._models:
            await model.close()


@asynccontextmanager
async def behind_http() -> AsyncIterator[BehindHttp]:
    fake = FakeOpenAi()
    await fake.start()
    subject = BehindHttp(fake)
    try:
        yield subject
    finally:
        await subject.close()
        await fake.stop()
