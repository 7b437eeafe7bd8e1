"""Chat through Triton: the tensors of TensorRT-LLM's `llmapi` model over gRPC streams.

Each answer is a stream of its own on one shared channel. Sharing one stream between answers would save 0.2 ms of
CPU per answer, but then a cancel or a deadline could not reach the model (gRPC cancels streams, not messages on
them), errors would lose their status codes, and one lost stream would end all answers. The messages and the stub
are tritonclient's; its `stream_infer` is not used, because it costs a third more CPU per token.

Names and habits: NVIDIA/TensorRT-LLM, triton_backend/all_models/llmapi (config.pbtxt, 1/model.py), and Triton's
docs/customization_guide/inference_protocols.md for `triton_grpc_error`. What matters here: `text_output` is the
whole text so far; an error may come as the text "N/A" without the finish reason that was asked for.
"""

import asyncio
import codecs
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
OPTIONS = {
    "grpc.max_receive_message_length": _MAX_MESSAGE,
    "grpc.max_send_message_length": _MAX_MESSAGE,
    # A restarted server is found again within a second; gRPC's own default grows to two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    # Another channel's back-off of the same process is not ours.
    "grpc.use_local_subchannel_pool": 1,
    # Notices a server that hangs before the silence is too long. No more than two pings while nothing is sent: a
    # Triton that was not told to allow more ends the connection at the third.
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.http2.ping_timeout_ms": 5_000,  # or gRPC waits a minute for the answer to a ping, whatever the line above
    "grpc.http2.max_pings_without_data": 2,
}
# Makes Triton end the stream with a real gRPC status instead of an error text.
_METADATA = (("triton_grpc_error", "true"),)
_REFUSED = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
_MAX_DETAIL = 300
_EOF = grpc.aio.EOF  # type: ignore[attr-defined]


class TritonBackend:
    """One channel to one Triton. It connects by itself, and again after a loss."""

    def __init__(self, settings: TritonModel, generation: Generation) -> None:
        """Raises ConfigurationError where the chat template cannot be used."""
        self._settings = settings
        self._generation = generation
        self._template = ChatTemplate.load(settings.template)
        self._channel: grpc.aio.Channel | None = None
        self._closed = False

    async def stream(
        self, messages: Sequence[ChatMessage], *, deadline: float, request_id: str
    ) -> AsyncGenerator[Chunk, None]:
        request = self._request(self._template.render(messages), request_id)
        call = self._stub().ModelStreamInfer((request,), metadata=_METADATA, timeout=deadline)
        last: Chunk | None = None
        try:
            # The finished answer is held until the stream is at its end: whoever has it stops reading, and a cancel
            # that meets the end of a stream makes Triton (2.51) leak the model's handle, so that it cannot unload.
            while (response := await call.read()) is not _EOF:
                chunk = read_response(response)
                if chunk is not None and chunk.finish is not None:
                    last = chunk
                elif chunk is not None:
                    yield chunk
            if last is not None:
                yield last
        except grpc.aio.AioRpcError as e:
            raise as_error(e.code(), e.details() or "") from None
        except asyncio.CancelledError:
            # Closing the channel cancels its calls, and gRPC raises that here as if the task were cancelled.
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise ModelUnavailable("the model client was closed") from None
            raise
        finally:
            call.cancel()

    async def ready(self) -> bool:
        try:
            answer = await self._stub().ModelReady(
                service_pb2.ModelReadyRequest(name=self._settings.model), timeout=_READY_SECONDS
            )
        except (grpc.aio.AioRpcError, ModelUnavailable):
            return False
        return bool(answer.ready)

    async def close(self) -> None:
        self._closed = True
        if self._channel is not None:
            await self._channel.close(None)

    def _stub(self) -> Any:
        if self._closed:
            raise ModelUnavailable("the model client was closed")
        if self._channel is None:  # here and not in __init__: a channel belongs to a running event loop
            self._channel = grpc.aio.insecure_channel(self._settings.url, options=list(OPTIONS.items()))
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def _request(self, prompt: str, request_id: str) -> Any:
        request = service_pb2.ModelInferRequest(model_name=self._settings.model, id=request_id)
        _add(request, "text_input", "BYTES", 1, _packed(prompt))
        _add(request, "streaming", "BOOL", 1, b"\x01")
        _add(request, "return_finish_reason", "BOOL", 1, b"\x01")
        _add(request, "sampling_param_exclude_input_from_output", "BOOL", 1, b"\x01")
        _add(request, "sampling_param_max_tokens", "INT32", 1, struct.pack("<i", self._generation.max_tokens))
        _add(request, "sampling_param_temperature", "FP32", 1, struct.pack("<f", self._generation.temperature))
        if stop := self._template.stop:
            _add(request, "sampling_param_stop", "BYTES", len(stop), b"".join(map(_packed, stop)))
        return request


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
    """The port's error for a gRPC status.

    Unknown models and internal errors count as temporary: a server that is just loading, or just failing, says
    the same, and the turn's own budget ends the attempts.
    """
    text = " ".join(detail.split())[:_MAX_DETAIL]
    if says_too_long(detail):
        return PromptTooLong(f"Triton: {text}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ModelDeadline("the time for this turn is used up")
    if code in _REFUSED:
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
