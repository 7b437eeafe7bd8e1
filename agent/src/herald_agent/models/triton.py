"""Chat through Triton: the tensors of TensorRT-LLM's `llmapi` model over gRPC streams.

Each answer is a stream of its own on one shared channel, so that a lost stream ends one answer only. Messages and
stub are tritonclient's; its `stream_infer` is not used, because it costs a third more CPU per token.

What Triton does to those who leave decides the rest of this module (seen with 2.51; the races are those of
triton-inference-server/server issues 7368 and 8034, pull requests 7840 and 8078). An error with the header
`triton_grpc_error` crashes it within a few hundred answers; a gRPC cancel or deadline that meets the end of a stream
leaks the model's handle, so that the model never unloads. So errors come as text, without that header, and an answer
that nobody waits for any more is ended as `llmapi` offers it: by a second request of the same id with `stop` set. The
stream then ends in good order behind the caller's back; only one that does not is cancelled.

Names and habits: NVIDIA/TensorRT-LLM, triton_backend/all_models/llmapi (config.pbtxt, 1/model.py). `text_output` is
the whole text so far; an error may come as the text "N/A" without the finish reason that was asked for.
"""

import asyncio
import codecs
import secrets
import struct
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from herald_agent.models.fitting import PromptTooLong, says_too_long
from herald_agent.models.ports import ChatMessage, ModelDeadline, ModelRefused, ModelUnavailable
from herald_agent.models.streaming import Chunk
from herald_agent.models.template import ChatTemplate
from herald_contracts.settings import Generation, TritonModel

_MAX_MESSAGE = 32 * 1024 * 1024
_READY_SECONDS = 2.0
_LEAVE_SECONDS = 5.0
"""How long a stopped answer may take to end before its stream is cancelled."""
_STOP_AGAIN_SECONDS = 0.5
"""Said again because the first may have overtaken the request that it is about."""
_LONG_STOP_SECONDS = 60.0
"""gRPC's own deadline comes so much later than ours: it ends only what nobody looks after any more."""
OPTIONS = {
    "grpc.max_receive_message_length": _MAX_MESSAGE,
    "grpc.max_send_message_length": _MAX_MESSAGE,
    # A restarted server is found again within a second; gRPC's own default grows to two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.enable_http_proxy": 0,  # prompts go to the configured server and nowhere else
    # Another channel's back-off of the same process is not ours.
    "grpc.use_local_subchannel_pool": 1,
    # Notices a server that hangs before the silence is too long. No more than two pings while nothing is sent: a
    # Triton that was not told to allow more ends the connection at the third.
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.http2.ping_timeout_ms": 5_000,  # or gRPC waits a minute for the answer to a ping, whatever the line above
    "grpc.http2.max_pings_without_data": 2,
}
_EOF = grpc.aio.EOF  # type: ignore[attr-defined]
_REFUSED = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
# How error texts begin or what they contain when the request can never work: Herald's own models (inference/local)
# say "refused: ", Triton itself complains of an input that the model does not have.
_REFUSALS = ("refused: ", "unexpected inference input")
_MAX_DETAIL = 300


class TritonBackend:
    """One channel to one Triton. It connects by itself, and again after a loss."""

    def __init__(self, settings: TritonModel, generation: Generation) -> None:
        """Raises ConfigurationError where the chat template cannot be used."""
        self._settings = settings
        self._generation = generation
        self._template = ChatTemplate.load(settings.template)
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def stream(
        self, messages: Sequence[ChatMessage], *, deadline: float, request_id: str
    ) -> AsyncGenerator[Chunk, None]:
        # Unique per attempt: `stop` names an id, and a zombie's answer must not be ended by its successor.
        unique = f"{request_id}:{secrets.token_hex(4)}"
        request = self._request(self._template.render(messages), unique)
        answer = _Answer(self._open().ModelStreamInfer((request,), timeout=deadline + _LONG_STOP_SECONDS))
        try:
            async for chunk in answer.chunks():
                yield chunk
        finally:
            if not answer.over:
                task = asyncio.create_task(self._leave(answer, unique))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def ready(self) -> bool:
        try:
            answer = await self._open().ModelReady(
                service_pb2.ModelReadyRequest(name=self._settings.model), timeout=_READY_SECONDS
            )
        except (grpc.aio.AioRpcError, ModelUnavailable):
            return False
        return bool(answer.ready)

    async def close(self) -> None:
        self._closed = True
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=_LEAVE_SECONDS)
        if self._channel is not None:
            await self._channel.close(None)

    async def _leave(self, answer: "_Answer", unique: str) -> None:
        """Have the model stop, and see the stream to its end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _LEAVE_SECONDS
        while not answer.ending and loop.time() < until:
            stop = service_pb2.ModelInferRequest(model_name=self._settings.model, id=unique)
            _add(stop, "text_input", "BYTES", 1, _packed(""))
            _add(stop, "stop", "BOOL", 1, b"\x01")
            # Its answer is an error that says "cancelled", whether or not such a request runs.
            said = _Answer(self._stub.ModelStreamInfer((stop,), timeout=_LEAVE_SECONDS))
            await answer.wait(_STOP_AGAIN_SECONDS)
            await said.end(_STOP_AGAIN_SECONDS)
        await answer.end(_STOP_AGAIN_SECONDS)

    def _open(self) -> Any:
        if self._closed:
            raise ModelUnavailable("the model client was closed")
        if self._channel is None:  # here and not in __init__: a channel belongs to a running event loop
            self._channel = grpc.aio.insecure_channel(self._settings.url, options=list(OPTIONS.items()))
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        return self._stub

    def _request(self, prompt: str, unique: str) -> Any:
        request = service_pb2.ModelInferRequest(model_name=self._settings.model, id=unique)
        _add(request, "text_input", "BYTES", 1, _packed(prompt))
        _add(request, "streaming", "BOOL", 1, b"\x01")
        _add(request, "return_finish_reason", "BOOL", 1, b"\x01")
        _add(request, "sampling_param_exclude_input_from_output", "BOOL", 1, b"\x01")
        _add(request, "sampling_param_max_tokens", "INT32", 1, struct.pack("<i", self._generation.max_tokens))
        _add(request, "sampling_param_temperature", "FP32", 1, struct.pack("<f", self._generation.temperature))
        if stop := self._template.stop:
            _add(request, "sampling_param_stop", "BYTES", len(stop), b"".join(map(_packed, stop)))
        return request


class _Answer:
    """One stream, read to its end by a task of its own: gRPC cancels a stream whose reader is cancelled.

    Only the newest message is kept. Each holds the whole text, so that whoever is slow misses nothing.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._newest: Any = None
        self._error: ModelUnavailable | ModelDeadline | ModelRefused | None = None
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._read())
        self._failed = False
        self.over = False

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """The text so far, whenever it changed; the finished one once the stream is at its end."""
        last: Chunk | None = None
        while not (self.over and self._newest is None):
            await self._changed.wait()
            self._changed.clear()
            response, self._newest = self._newest, None
            try:
                chunk = read_response(response) if response is not None else None
            except (ModelUnavailable, ModelRefused):
                self._failed = True
                raise
            if chunk is not None and chunk.finish is not None:
                last = chunk
            elif chunk is not None:
                yield chunk
        if self._error is not None:
            raise self._error
        if last is not None:
            yield last

    @property
    def ending(self) -> bool:
        """Whether the server needs no word from us to end the stream."""
        return self.over or self._failed

    async def wait(self, seconds: float) -> None:
        """Wait for the end of the stream, so long at most."""
        await asyncio.wait((self._task,), timeout=seconds)

    async def end(self, seconds: float) -> None:
        """Wait for the end of the stream, and cancel it when it does not come."""
        await self.wait(seconds)
        if not self.over:
            self._call.cancel()
            await self.wait(seconds)

    async def _read(self) -> None:
        try:
            while (response := await self._call.read()) is not _EOF:
                if response.error_message or response.infer_response.outputs:
                    self._newest = response
                    self._changed.set()
        except grpc.aio.AioRpcError as e:
            self._error = as_error(e.code(), e.details() or "")
        except asyncio.CancelledError:  # what gRPC raises when the channel is closed or the call cancelled
            self._error = ModelUnavailable("the model client was closed")
        finally:
            self.over = True
            self._changed.set()


def read_response(response: Any) -> Chunk | None:
    """One message of the stream; None where it carries no text.

    Raises ModelUnavailable or ModelRefused for an error that came as a message, and for a message that is not
    what `llmapi` sends.
    """
    if response.error_message:
        raise as_error(grpc.StatusCode.UNKNOWN, response.error_message)
    infer = response.infer_response
    outputs = dict(zip((output.name for output in infer.outputs), infer.raw_output_contents, strict=False))
    if "text_output" not in outputs:
        return None
    try:
        reason = _unpacked(outputs["finish_reason"]).decode("ascii") if "finish_reason" in outputs else "None"
        finish = {"stop": "stop", "length": "length", "None": None}[reason]
        data = _unpacked(outputs["text_output"])
        counts = [struct.unpack("<i", outputs[name])[0] if name in outputs else None for name in _COUNTS]
    except KeyError:
        raise ModelUnavailable(f"the server ended the answer: {reason[:40]}") from None
    except (ValueError, struct.error):
        raise ModelUnavailable("the server's answer is not what a chat model sends") from None
    final = finish is not None or infer.parameters["triton_final_response"].bool_param
    if data == b"N/A" and final and "finish_reason" not in outputs:
        raise ModelUnavailable("the model failed without saying why")
    return Chunk(decoded(data, final=final), finish, *counts)  # type: ignore[arg-type]


_COUNTS = ("input_tokens", "output_tokens")


def decoded(data: bytes, *, final: bool) -> str:
    """UTF-8 text; a character not yet complete is left out until the last chunk, what is none becomes U+FFFD."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return codecs.getincrementaldecoder("utf-8")("replace").decode(data, final)


def as_error(code: grpc.StatusCode, detail: str) -> ModelUnavailable | ModelDeadline | ModelRefused:
    """The port's error for a gRPC status, or for an error text (which has the status UNKNOWN).

    Unknown models and internal errors count as temporary: a server that is just loading, or just failing, says
    the same, and the turn's own budget ends the attempts.
    """
    text = " ".join(detail.split())[:_MAX_DETAIL]
    if says_too_long(detail):
        return PromptTooLong(f"Triton: {text}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ModelDeadline("the time for this turn is used up")
    if code in _REFUSED or any(refusal in detail for refusal in _REFUSALS):
        return ModelRefused(f"Triton refuses the request: {text}")
    return ModelUnavailable(f"Triton: {code.name.lower()}: {text}")


def _add(request: Any, name: str, datatype: str, size: int, content: bytes) -> None:
    request.inputs.add(name=name, datatype=datatype, shape=[size])
    request.raw_input_contents.append(content)


def _packed(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return struct.pack("<I", len(data)) + data


def _unpacked(content: bytes) -> bytes:
    """The first of the length-prefixed texts of a BYTES tensor. Raises ValueError."""
    if len(content) < 4 or len(content) < 4 + (size := struct.unpack_from("<I", content)[0]):
        raise ValueError("cut short")
    return content[4 : 4 + size]
