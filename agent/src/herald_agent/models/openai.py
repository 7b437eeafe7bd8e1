"""Chat through any endpoint that speaks OpenAI's chat completions: `POST {base_url}/chat/completions`, streamed.

Endpoints differ in what they take. Instead of a setting for each kind, a request that is refused because of one
optional field is sent again without it, and the endpoint is remembered (`adapted`).

The API: https://platform.openai.com/docs/api-reference/chat-streaming; errors: .../docs/guides/error-codes.
"""

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import aiohttp

from herald_agent.models.fitting import PromptTooLong, says_too_long
from herald_agent.models.ports import ChatMessage, ModelRefused, ModelUnavailable
from herald_agent.models.sse import EventReader, EventTooLarge
from herald_agent.models.streaming import Chunk
from herald_contracts.errors import ConfigurationError
from herald_contracts.settings import Generation, OpenAiModel
from herald_runtime.secrets import SecretFolder

_CONNECT_SECONDS = 5.0
_READY_SECONDS = 3.0
_MAX_ERROR = 65_536
_MAX_STREAM = 64 * 1024 * 1024
_MAX_DETAIL = 200
_LONGEST_WAIT = 3_600.0
_BUSY = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which optional fields an endpoint takes."""

    usage: bool = True
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True


class OpenAiBackend:
    """One connection pool to one endpoint. Redirects are not followed: they would carry the key elsewhere."""

    def __init__(self, settings: OpenAiModel, generation: Generation) -> None:
        """Raises ConfigurationError where the Secret has no `api-key`."""
        self._settings = settings
        self._generation = generation
        self._base = settings.base_url.rstrip("/")
        self._secret = SecretFolder(settings.secret) if settings.secret is not None else None
        self._key()
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._dialect = Dialect()

    async def stream(
        self, messages: Sequence[ChatMessage], *, deadline: float, request_id: str
    ) -> AsyncGenerator[Chunk, None]:
        while True:
            used = self._dialect
            body = request_body(self._settings.model, messages, self._generation, used)
            try:
                async with self._open().post(
                    f"{self._base}/chat/completions",
                    data=body,
                    headers={**self._headers(), "X-Client-Request-Id": _header_safe(request_id)},
                    allow_redirects=False,
                ) as response:
                    if response.status != 200:
                        error = await _read_error(response)
                        better = adapted(used, error) if response.status in (400, 422) else None
                        if better is None:
                            raise as_error(response.status, error, response.headers.get("Retry-After"))
                        self._dialect = better
                        continue
                    async for chunk in _chunks(response):
                        yield chunk
                    return
            except (aiohttp.ClientError, TimeoutError, EventTooLarge) as e:
                raise ModelUnavailable(f"the model endpoint: {type(e).__name__}") from None
            except ConfigurationError as e:  # the key was there at the start: a rotation in its middle
                raise ModelUnavailable(str(e)) from None

    async def ready(self) -> bool:
        """Whether the endpoint answers and takes the key; endpoints without a list of models say 404."""
        try:
            async with self._open().get(
                f"{self._base}/models",
                headers=self._headers(),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_READY_SECONDS),
            ) as response:
                return response.status in (200, 404, 405)
        except (aiohttp.ClientError, TimeoutError, ModelUnavailable, ConfigurationError):
            return False

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ModelUnavailable("the model client was closed")
        if self._session is None:  # here and not in __init__: a session belongs to a running event loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # the worker bounds its turns itself
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        key = self._key()
        bearer = {"Authorization": f"Bearer {key}"} if key else {}
        return {"Content-Type": "application/json", "Accept": "text/event-stream", **bearer}

    def _key(self) -> str:
        """The current key, read again when its file changed; "" where the endpoint wants none."""
        if self._secret is None:
            return ""
        try:
            return self._secret.get("api-key").decode("ascii")
        except UnicodeDecodeError:
            raise ConfigurationError("the key 'api-key' is not plain ASCII", path=str(self._settings.secret)) from None


def request_body(model: str, messages: Sequence[ChatMessage], generation: Generation, dialect: Dialect) -> bytes:
    """The JSON of one request."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "stream": True,
        dialect.limit: generation.max_tokens,
    }
    if dialect.temperature:
        body["temperature"] = generation.temperature
    if dialect.usage:
        body["stream_options"] = {"include_usage": True}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def adapted(dialect: Dialect, error: Mapping[str, Any]) -> Dialect | None:
    """The dialect without the field that the error complains about; None where it is about something else."""
    about = f"{error.get('param', '')} {error.get('message', '')}"
    if dialect.usage and "stream_options" in about:
        return replace(dialect, usage=False)
    if dialect.limit == "max_tokens" and "max_completion_tokens" in about:
        return replace(dialect, limit="max_completion_tokens")
    if dialect.temperature and "temperature" in about:
        return replace(dialect, temperature=False)
    return None


def as_error(status: int, error: Mapping[str, Any], retry_after: str | None = None) -> ModelUnavailable | ModelRefused:
    """The port's error for an HTTP status and the `error` object of its body."""
    if status in (401, 403):
        # Nothing of the body: some endpoints repeat the key in it.
        return ModelRefused(f"the model endpoint refuses the API key (HTTP {status})")
    detail = _detail(error)
    if status in _BUSY or status >= 500:
        if error.get("code") == "insufficient_quota":
            return ModelRefused(f"the model endpoint's quota is used up: {detail}")
        return ModelUnavailable(f"the model endpoint: HTTP {status}: {detail}", retry_after=seconds_of(retry_after))
    if error.get("code") == "context_length_exceeded" or says_too_long(str(error.get("message", ""))):
        return PromptTooLong(f"the model endpoint: {detail}")
    if 300 <= status < 400:
        return ModelRefused(f"the model endpoint redirects (HTTP {status}): its address is not what is configured")
    return ModelRefused(f"the model endpoint refuses the request: HTTP {status}: {detail}")


def seconds_of(retry_after: str | None, now: datetime | None = None) -> float | None:
    """A Retry-After header (RFC 9110, 10.2.3: seconds or a date) in seconds, at most an hour; None where unusable."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), _LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    wait = (at - (now or datetime.now(UTC))).total_seconds()
    return min(max(wait, 0.0), _LONGEST_WAIT)


class AnswerReader:
    """Makes chunks of the stream's events."""

    def __init__(self) -> None:
        self._text = ""
        self._finish: Literal["stop", "length"] | None = None
        self._counts: tuple[int | None, int | None] = (None, None)
        self.done = False

    def read(self, event: bytes) -> Chunk | None:
        """The answer so far. The finish comes by `last`, as the counts follow it.

        Raises ModelUnavailable or ModelRefused.
        """
        if event.strip() == b"[DONE]":
            self.done = True
            return None
        try:
            data = json.loads(event)
            if error := data.get("error"):
                status = data.get("status") or (error.get("code") if isinstance(error, dict) else None)
                raise as_error(status if isinstance(status, int) else 500, _object(error))
            if usage := data.get("usage"):
                self._counts = (_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))
            for choice in (data.get("choices") or ())[:1]:
                self._text += (choice.get("delta") or {}).get("content") or ""
                self._finished(choice.get("finish_reason"))
        except (ValueError, AttributeError, TypeError, LookupError, RecursionError):
            raise ModelUnavailable("the model endpoint's answer is not what the API says") from None
        return Chunk(self._text)

    def last(self) -> Chunk:
        """The whole answer, once the stream is at its end. Raises ModelUnavailable where it broke off."""
        if self._finish is None and not self.done:
            raise ModelUnavailable("the model endpoint broke off its answer")
        return Chunk(self._text, self._finish or "stop", *self._counts)

    def _finished(self, reason: object) -> None:
        if reason == "content_filter":
            raise ModelRefused("the model endpoint's content filter stopped the answer")
        if reason is not None:
            self._finish = "length" if reason == "length" else "stop"


async def _chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[Chunk, None]:
    events, answer = EventReader(), AnswerReader()
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > _MAX_STREAM:
            raise ModelUnavailable(f"the model endpoint sent more than {_MAX_STREAM} bytes")
        for event in events.feed(piece):
            chunk = answer.read(event)
            if answer.done:
                break
            if chunk is not None:
                yield chunk
        if answer.done:
            break
    yield answer.last()


async def _read_error(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    """The `error` object of a refusal; an empty one where the body has none."""
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > _MAX_ERROR:
            return {}
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return _object(data.get("error", data)) if isinstance(data, dict) else {}


def _object(error: object) -> Mapping[str, Any]:
    return error if isinstance(error, dict) else {"message": str(error)}


def _detail(error: Mapping[str, Any]) -> str:
    words = " ".join(str(error.get(key) or "") for key in ("code", "message")).split()
    return " ".join(words)[:_MAX_DETAIL] or "no reason given"


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _header_safe(text: str) -> str:
    return re.sub(r"[^\x21-\x7e]", "_", text)[:128]
