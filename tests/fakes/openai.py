"""An endpoint that behaves as OpenAI's public API documents say, for tests; its answers come from the script.

Documents: https://platform.openai.com/docs/api-reference/chat (create, streaming) and .../docs/guides/error-codes.
What a real endpoint may do to a client (refuse a field, want a key, redirect, break off) is set on the object.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from herald_agent.models import script


@dataclass
class FakeOpenAi:
    """Listens on a free port between `start` and `stop`; `url` is the base URL, up to and with /v1."""

    key: str = ""
    refused_fields: tuple[str, ...] = ()
    """Answers 400 to a request that has one of them, naming the parameter as the API does."""
    refusals: list[web.Response] = field(default_factory=list)
    """Answers to the next requests, before any is served."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    raw: list[bytes] | None = None
    """Sent as the stream, piece by piece, instead of a scripted answer."""
    url: str = ""
    _runner: web.AppRunner | None = None
    _port: int = 0

    async def start(self) -> None:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._completions)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]  # the same again after a restart
        self.url = f"http://127.0.0.1:{self._port}/v1"

    async def stop(self) -> None:
        """Close all connections, those with an answer on them too."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        if not self._authorised(request):
            return _unauthorised()
        return web.json_response({"object": "list", "data": [{"id": "fake", "object": "model"}]})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        body = await request.json()
        self.requests.append(body)
        if self.refusals:
            return self.refusals.pop(0)
        if not self._authorised(request):
            return _unauthorised()
        for name in self.refused_fields:
            if name in body:
                instead = "Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
                return refusal(400, f"Unsupported parameter: '{name}' is not supported. {instead}", param=name)
        self.counters["running"] += 1
        outcome = "cancelled"
        try:
            response = await self._stream(request, body)
            outcome = "finished"
        except web.HTTPException as e:
            outcome = "failed"
            raise e from None
        finally:
            self.counters["running"] -= 1
            self.counters[outcome] += 1
        return response

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        if self.raw is not None:
            await response.prepare(request)
            for piece in self.raw:
                await response.write(piece)
            return response
        message = next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or 16
        read = script.read(message)
        self.counters[message] += 1
        for step in script.play(read, limit, self.counters[message]):
            match step:
                case script.Say(after, data):
                    await asyncio.sleep(after)
                    await self._send(request, response, _chunk({"content": data.decode(errors="replace")}))
                case script.Fail(after, temporary, reason):
                    await asyncio.sleep(after)
                    if response.prepared:
                        await response.write(b'data: {"error": {"message": "broke off", "type": "server_error"}}\n\n')
                        return response
                    status = 503 if temporary else 400
                    raise _failure(status, reason)
                case script.Hang():
                    await asyncio.Event().wait()
                case script.End(finish, tokens):
                    await self._send(request, response, _chunk({}, finish))
                    if (body.get("stream_options") or {}).get("include_usage"):
                        usage = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}
                        await self._send(request, response, {**_chunk({}), "choices": [], "usage": usage})
                    await response.write(b"data: [DONE]\n\n")
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, chunk: dict[str, Any]) -> None:
        if not response.prepared:
            await response.prepare(request)
            await self._send(request, response, _chunk({"role": "assistant", "content": ""}))
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def _authorised(self, request: web.Request) -> bool:
        return not self.key or request.headers.get("Authorization") == f"Bearer {self.key}"


def refusal(status: int, message: str, *, param: str | None = None, code: str | None = None) -> web.Response:
    """An error as the API sends it."""
    return web.json_response(_error(message, param, code), status=status)


def _failure(status: int, message: str) -> web.HTTPException:
    kind = web.HTTPServiceUnavailable if status == 503 else web.HTTPBadRequest
    return kind(text=json.dumps(_error(message, None, None)), content_type="application/json")


def _unauthorised() -> web.Response:
    return refusal(401, "Incorrect API key provided.", code="invalid_api_key")


def _error(message: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def _chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "fake",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }
