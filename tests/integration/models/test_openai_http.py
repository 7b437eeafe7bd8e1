"""What an OpenAI-compatible endpoint may do to its client, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from herald_agent.models.create import create_model
from herald_agent.models.ports import Model, ModelRefused, ModelUnavailable
from herald_contracts.settings import Generation, OpenAiModel
from tests.fakes.openai import FakeOpenAi, refusal
from tests.integration.models.subjects import ask, until


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeOpenAi]:
    fake = FakeOpenAi()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def model(endpoint: FakeOpenAi) -> AsyncIterator[Model]:
    made = create_model(OpenAiModel(base_url=endpoint.url + "/", model="fake"), Generation(max_tokens=8))
    yield made
    await made.close()


async def test_counts_come_with_the_answer(model: Model) -> None:
    completion, _ = await ask(model, "hi")
    assert (completion.text, completion.input_tokens, completion.output_tokens) == ("echo: hi", 9, 2)


@pytest.mark.parametrize("fields", [("stream_options",), ("max_tokens",), ("temperature",),
                                    ("stream_options", "max_tokens", "temperature")])  # fmt: skip
async def test_a_field_that_the_endpoint_does_not_take_is_left_out_from_then_on(
    endpoint: FakeOpenAi, model: Model, fields: tuple[str, ...]
) -> None:
    endpoint.refused_fields = fields
    assert (await ask(model, "one"))[0].text == "echo: one"
    asked = len(endpoint.requests)
    assert asked == 1 + len(fields)
    assert (await ask(model, "two"))[0].text == "echo: two"
    assert len(endpoint.requests) == asked + 1
    assert not set(fields) & set(endpoint.requests[-1])


async def test_the_key_is_sent_and_read_again_when_it_is_rotated(endpoint: FakeOpenAi, tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("first-key\n")
    endpoint.key = "first-key"
    model = create_model(OpenAiModel(base_url=endpoint.url, model="fake", secret=tmp_path), Generation())
    assert (await ask(model, "hi"))[0].text == "echo: hi"
    assert await model.ready()
    endpoint.key = "second-key"
    assert not await model.ready()
    with pytest.raises(ModelRefused, match="HTTP 401") as caught:
        await ask(model, "hi")
    assert "first-key" not in str(caught.value)
    (tmp_path / "api-key").write_text("second-key-is-longer")
    endpoint.key = "second-key-is-longer"
    assert (await ask(model, "hi"))[0].text == "echo: hi"
    (tmp_path / "api-key").unlink()
    with pytest.raises(ModelUnavailable, match="api-key"):
        await ask(model, "in the middle of a rotation")
    await model.close()


async def test_a_redirect_is_not_followed(endpoint: FakeOpenAi, model: Model) -> None:
    elsewhere = FakeOpenAi()
    await elsewhere.start()
    endpoint.refusals.append(web.Response(status=307, headers={"Location": f"{elsewhere.url}/chat/completions"}))
    with pytest.raises(ModelRefused, match="redirects"):
        await ask(model, "hi")
    assert elsewhere.requests == []
    await elsewhere.stop()


async def test_a_busy_endpoint_says_how_long_to_wait(endpoint: FakeOpenAi, model: Model) -> None:
    busy = refusal(429, "slow down")
    busy.headers["Retry-After"] = "7"
    endpoint.refusals.append(busy)
    with pytest.raises(ModelUnavailable, match="HTTP 429: slow down") as caught:
        await ask(model, "hi")
    assert caught.value.retry_after == 7
    assert (await ask(model, "again"))[0].text == "echo: again"


@pytest.mark.parametrize(
    ("body", "told"),
    [(b"<html>gateway</html>", "HTTP 502: no reason given"), (b"x" * 1_000_000, "HTTP 502: no reason given"),
     (b'{"error": "plain"}', "HTTP 502: plain"), (b"[1]", "HTTP 502: no reason given"), (b"", "HTTP 502")],
)  # fmt: skip
async def test_any_error_body_is_one_short_line(endpoint: FakeOpenAi, model: Model, body: bytes, told: str) -> None:
    endpoint.refusals.append(web.Response(status=502, body=body))
    with pytest.raises(ModelUnavailable, match=told) as caught:
        await ask(model, "hi")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "raw",
    [
        [b"data: {\n\n"],
        [b"data: [1]\n\n"],
        [b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'],
        [b"not an event stream"],
        [b""],
        [b'data: {"error": {"message": "overloaded"}}\n\n'],
        [b"data: " + b"x" * 65_536] * 40,
        [b"data: \xff\xfe\n\n"],
    ],
)
async def test_a_stream_that_is_no_answer_is_unavailable(endpoint: FakeOpenAi, model: Model, raw: list[bytes]) -> None:
    endpoint.raw = raw
    with pytest.raises(ModelUnavailable):
        await ask(model, "hi")


async def test_reasoning_and_comments_are_passed_over(endpoint: FakeOpenAi, model: Model) -> None:
    endpoint.raw = [
        b": keep-alive\n\n",
        b'data: {"choices": [{"delta": {"reasoning_content": "hm"}, "finish_reason": null}]}\n\n',
        b'data: {"choices": [{"delta": {"content": null}, "finish_reason": null}]}\n\n',
        'data: {"choices": [{"delta": {"content": "é"}}]}\n\n'.encode()[:35],
        'data: {"choices": [{"delta": {"content": "é"}}]}\n\n'.encode()[35:],
        b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n',
        b"data: [DONE]\n\ndata: never read\n\n",
    ]
    assert (await ask(model, "hi"))[0].text == "é"


async def test_a_connection_lost_in_the_middle_is_unavailable_and_works_again(
    endpoint: FakeOpenAi, model: Model
) -> None:
    begun = asyncio.Event()

    async def show(_: str) -> None:
        begun.set()

    task = asyncio.create_task(ask(model, "[[hang-after=1]]", on_text=show))
    await begun.wait()
    await endpoint.stop()
    with pytest.raises(ModelUnavailable):
        await asyncio.wait_for(task, 5)
    with pytest.raises(ModelUnavailable):
        await ask(model, "nobody there")
    assert not await model.ready()
    await endpoint.start()
    await until(model.ready, "ready again")
    assert (await ask(model, "back"))[0].text == "echo: back"
