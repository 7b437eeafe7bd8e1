"""The real chat model in the real Triton, by the packaged SmolLM2: shape, never content."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from herald_agent.models.create import create_model
from herald_agent.models.gguf import write_template
from herald_agent.models.ports import ChatMessage, Model, ModelRefused
from herald_cli import chat_model
from herald_contracts.settings import Generation, TritonModel
from tests import servers
from tests.integration.models.subjects import ask

GGUF = chat_model.locate(chat_model.SMOLLM2, Path())
SLOTS = 2  # of the fixture


@pytest.fixture
def settings(triton: servers.Triton, tmp_path: Path) -> TritonModel:
    template = tmp_path / "chat.jinja"
    assert write_template(GGUF, template)
    return TritonModel(url=triton.grpc, model="tensorrt_llm", template=template)


@pytest.fixture
async def model(settings: TritonModel) -> AsyncIterator[Model]:
    made = create_model(settings, Generation(max_tokens=16, temperature=0))
    yield made
    await made.close()


async def test_a_short_question_gets_a_short_answer(model: Model) -> None:
    completion, shown = await ask(model, "Say hello.", before=[ChatMessage("system", "You are kind.")], deadline=60)
    assert completion.text == shown[-1]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
    assert completion.input_tokens is not None
    assert 10 < completion.input_tokens < 60
    assert completion.output_tokens is not None
    assert 1 <= completion.output_tokens <= 16
    assert "<|im_" not in completion.text
    assert await model.ready()


async def test_the_plain_template_works_too(settings: TritonModel) -> None:
    model = create_model(settings.model_copy(update={"template": None}), Generation(max_tokens=4, temperature=0))
    completion, _ = await ask(model, "Say hello.", deadline=60)
    assert completion.finish in ("stop", "length")
    await model.close()


async def test_a_cancel_frees_the_slots_and_those_that_wait(settings: TritonModel) -> None:
    """Left alone, each of these would write 4,000 tokens: minutes on any CPU."""
    long = create_model(settings, Generation(max_tokens=4_000, temperature=1.5))
    begun = asyncio.Event()

    async def show(_: str) -> None:
        begun.set()

    tasks = [
        asyncio.create_task(ask(long, "Count from 1 to 5000, all of them.", deadline=600, on_text=show))
        for _ in range(SLOTS + 3)
    ]
    await begun.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    short = create_model(settings, Generation(max_tokens=2))
    completion, _ = await ask(short, "Say hello.", deadline=30)
    assert completion.finish in ("stop", "length")
    await short.close()
    await long.close()


async def test_a_prompt_beyond_the_context_is_refused_and_a_long_history_is_not(settings: TritonModel) -> None:
    model = create_model(settings, Generation(max_tokens=2, max_input_tokens=131_072))
    with pytest.raises(ModelRefused, match="too long"):
        await ask(model, "word " * 6_000, deadline=60)
    before = [ChatMessage("user" if i % 2 == 0 else "assistant", "word " * 30) for i in range(1_000)]
    small = create_model(settings, Generation(max_tokens=2, max_input_tokens=256))
    completion, _ = await ask(small, "Say hello.", before=before, deadline=60)
    assert completion.input_tokens is not None
    assert completion.input_tokens < 400
    await model.close()
    await small.close()


@pytest.mark.parametrize(("content", "why"), [(None, "cannot read"), (b"GGUF nothing more", "llama.cpp cannot load")])
def test_a_model_that_does_not_load_is_named_in_the_servers_log(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "mine.gguf"
    if content is not None:
        path.write_bytes(content)
    server = servers.Triton(tmp_path / "triton", ("tensorrt_llm",), {"HERALD_CHAT_GGUF": str(path)})
    with pytest.raises(servers.NotReady):
        server.start()
    log = server.log.read_text(errors="replace")
    assert f"{why} {path}" in log
    assert "HERALD_CHAT_GGUF" in log
