"""What an OpenAI-compatible endpoint is asked, and what its answers and refusals mean."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_agent.models.fitting import PromptTooLong
from herald_agent.models.openai import (
    AnswerReader,
    Dialect,
    OpenAiBackend,
    adapted,
    as_error,
    request_body,
    seconds_of,
)
from herald_agent.models.ports import ChatMessage, ModelRefused, ModelUnavailable
from herald_agent.models.streaming import Chunk
from herald_contracts.errors import ConfigurationError, HeraldError
from herald_contracts.settings import Generation, OpenAiModel

HELLO = [ChatMessage("system", "s"), ChatMessage("user", "héllo \ud800")]


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        (Dialect(), {"max_tokens": 9, "temperature": 0.5, "stream_options": {"include_usage": True}}),
        (Dialect(usage=False), {"max_tokens": 9, "temperature": 0.5}),
        (
            Dialect(limit="max_completion_tokens", temperature=False),
            {"max_completion_tokens": 9, "stream_options": {"include_usage": True}},
        ),
    ],
)
def test_a_request_has_the_fields_that_the_endpoint_takes(dialect: Dialect, fields: dict[str, Any]) -> None:
    body = json.loads(request_body("m", HELLO, Generation(max_tokens=9, temperature=0.5), dialect))
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "héllo ?"}],
        "stream": True,
        **fields,
    }


@pytest.mark.parametrize(
    ("dialect", "error", "better"),
    [
        (Dialect(), {"message": "extra fields: stream_options"}, Dialect(usage=False)),
        (Dialect(), {"param": "stream_options"}, Dialect(usage=False)),
        (
            Dialect(),
            {"param": "max_tokens", "message": "Unsupported parameter: use 'max_completion_tokens' instead."},
            Dialect(limit="max_completion_tokens"),
        ),
        (Dialect(), {"message": "'temperature' does not support 0.2"}, Dialect(temperature=False)),
        (Dialect(usage=False), {"message": "stream_options"}, None),
        (Dialect(), {"message": "no such model"}, None),
        (Dialect(), {}, None),
    ],
)
def test_one_refused_field_is_left_out_next_time(
    dialect: Dialect, error: dict[str, Any], better: Dialect | None
) -> None:
    assert adapted(dialect, error) == better


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "bad"}, ModelRefused),
        (400, {"code": "context_length_exceeded", "message": "x"}, PromptTooLong),
        (400, {"message": "This model's maximum context length is 8192 tokens"}, PromptTooLong),
        (401, {}, ModelRefused),
        (403, {}, ModelRefused),
        (404, {"message": "no such model"}, ModelRefused),
        (302, {}, ModelRefused),
        (408, {}, ModelUnavailable),
        (409, {}, ModelUnavailable),
        (425, {}, ModelUnavailable),
        (429, {}, ModelUnavailable),
        (429, {"code": "insufficient_quota"}, ModelRefused),
        (500, {}, ModelUnavailable),
        (503, {"message": "overloaded"}, ModelUnavailable),
    ],
)
def test_statuses_become_the_ports_errors(status: int, error: dict[str, Any], kind: type[HeraldError]) -> None:
    assert type(as_error(status, error)) is kind


def test_the_wait_that_the_endpoint_asks_for_is_kept() -> None:
    error = as_error(429, {}, "7")
    assert isinstance(error, ModelUnavailable)
    assert error.retry_after == 7


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_repeats_nothing_of_the_body(status: int) -> None:
    assert "sk-secret" not in str(as_error(status, {"message": "Incorrect API key provided: sk-secret"}))


NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("5", 5),
        (" 5 ", 5),
        ("0", 0),
        ("999999", 3_600),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header, NOW) == seconds


def event(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    return json.dumps({"choices": [{"delta": {"content": content}, "finish_reason": finish}], **more}).encode()


def test_an_answer_is_read_to_its_end_with_its_counts() -> None:
    reader = AnswerReader()
    assert reader.read(event("a")) == Chunk("a")
    assert reader.read(event("b")) == Chunk("ab")
    assert reader.read(event(None, "length")) == Chunk("ab")
    reader.read(b'{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}')
    assert reader.read(b"[DONE]") is None
    assert reader.done
    assert reader.last() == Chunk("ab", "length", 3, 2)


def test_an_answer_that_breaks_off_is_an_error() -> None:
    reader = AnswerReader()
    reader.read(event("a"))
    with pytest.raises(ModelUnavailable, match="broke off"):
        reader.last()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b'{"error": {"message": "overloaded"}}', ModelUnavailable),
        (b'{"error": "overloaded"}', ModelUnavailable),
        (b'{"error": {"code": 400, "message": "the prompt is too long"}}', PromptTooLong),
        (event("a", "content_filter"), ModelRefused),
        (b"{", ModelUnavailable),
        (b"[]", ModelUnavailable),
        (b"1", ModelUnavailable),
        (b'{"choices": [1]}', ModelUnavailable),
        (b'{"choices": {"a": 1}}', ModelUnavailable),
        (b'{"choices": [{"delta": {"content": 1}}]}', ModelUnavailable),
        (b"[" * 100_000, ModelUnavailable),
    ],
)
def test_an_event_that_is_no_answer_is_an_error(data: bytes, error: type[HeraldError]) -> None:
    with pytest.raises(error):
        AnswerReader().read(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "content", "finish_reason", "usage", "error", "code", "status"]), inner
        )
    ),
    max_leaves=12,
)


@given(value=JSON)
def test_any_json_is_text_or_one_of_the_ports_errors(value: Any) -> None:
    try:
        chunk = AnswerReader().read(json.dumps(value).encode())
    except (ModelUnavailable, ModelRefused):
        return
    assert chunk is None or isinstance(chunk.text, str)


def test_a_secret_without_its_key_is_refused_at_the_start(tmp_path: Path) -> None:
    settings = OpenAiModel(base_url="http://127.0.0.1:9/v1", model="m", secret=tmp_path)
    with pytest.raises(ConfigurationError, match="api-key"):
        OpenAiBackend(settings, Generation())
