"""The tensors of TensorRT-LLM's `llmapi` model, as both chat models of this folder read and write them.

A worker must not be able to tell which server answers it, so names, types and habits are those of
https://github.com/NVIDIA/TensorRT-LLM/tree/main/triton_backend/all_models/llmapi (config.pbtxt, model.py):
`text_output` holds the whole text so far, `finish_reason` comes when `return_finish_reason` was asked, an error
carries no text, and a request with `stop` set ends the running one of the same request id, which then finishes as
`cancelled`.

Two things differ. `finish_reason` comes with the last response only, as each tensor costs as much as all other work
on a token; and with it come two outputs of ours, `input_tokens` and `output_tokens`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

_DEFAULT_MAX_TOKENS = 32  # of llmapi's SamplingParams
_MOST_TOKENS = 1_000_000


class BadRequest(ValueError):
    """The request's tensors make no sense; the text says which."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one generation asks for. Sampling values are None where the request leaves them to the model."""

    id: str
    prompt: str
    streaming: bool
    max_tokens: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    seed: int | None
    stop: tuple[str, ...]
    with_prompt: bool
    """Whether the answer begins with the prompt."""
    with_finish_reason: bool
    cancels: bool
    """Not a generation, but the wish to end the one of the same id."""


def read(request: Any) -> Request:
    """The tensors of a Triton request. Raises BadRequest."""
    cancels = bool(_scalar(request, "stop", False))
    max_tokens = int(_scalar(request, "sampling_param_max_tokens", _DEFAULT_MAX_TOKENS))
    if not 1 <= max_tokens <= _MOST_TOKENS:
        raise BadRequest(f"sampling_param_max_tokens is {max_tokens}, not 1 to {_MOST_TOKENS}")
    return Request(
        id=request.request_id(),
        prompt="" if cancels else _text(request),
        streaming=bool(_scalar(request, "streaming", False)),
        max_tokens=max_tokens,
        temperature=_scalar(request, "sampling_param_temperature", None),
        top_k=_scalar(request, "sampling_param_top_k", None),
        top_p=_scalar(request, "sampling_param_top_p", None),
        frequency_penalty=_scalar(request, "sampling_param_frequency_penalty", None),
        presence_penalty=_scalar(request, "sampling_param_presence_penalty", None),
        seed=_scalar(request, "sampling_param_seed", None),
        stop=_texts(request, "sampling_param_stop"),
        with_prompt=not _scalar(request, "sampling_param_exclude_input_from_output", True),
        with_finish_reason=bool(_scalar(request, "return_finish_reason", False)),
        cancels=cancels,
    )


def answer(
    text: str | bytes, request: Request, *, finish: str | None = None, counts: tuple[int, int] | None = None
) -> Any:
    """A response with the whole text so far; `finish` and `counts` (tokens in, out) with the last one."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    if request.with_prompt:
        data = request.prompt.encode() + data
    tensors = [pb_utils.Tensor("text_output", np.array([data], dtype=np.object_))]
    if finish is not None and request.with_finish_reason:
        tensors.append(pb_utils.Tensor("finish_reason", np.array([finish.encode()], dtype=np.object_)))
    if counts is not None:
        tensors.append(pb_utils.Tensor("input_tokens", np.array(counts[:1], dtype=np.int32)))
        tensors.append(pb_utils.Tensor("output_tokens", np.array(counts[1:], dtype=np.int32)))
    return pb_utils.InferenceResponse(output_tensors=tensors)


def end(sender: Any, response: Any) -> None:
    """Send the last response of a request."""
    sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def fail(sender: Any, message: str) -> None:
    """End a request with an error that another attempt may not meet."""
    end(sender, pb_utils.InferenceResponse(error=pb_utils.TritonError(message)))


def refuse(sender: Any, message: str) -> None:
    """End a request with an error that every attempt would meet.

    Clients know it by its first word: an error's code reaches them only where they ask for it by a header, and then
    Triton 2.51 crashes over it.
    """
    fail(sender, f"refused: {message}")


def _text(request: Any) -> str:
    texts = _texts(request, "text_input")
    if len(texts) != 1:
        raise BadRequest(f"text_input holds {len(texts)} texts, not one")
    return texts[0]


def _texts(request: Any, name: str) -> tuple[str, ...]:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return ()
    values: Sequence[Any] = tensor.as_numpy().reshape(-1).tolist()
    try:
        return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values)
    except UnicodeDecodeError:
        raise BadRequest(f"{name} is not UTF-8") from None


def _scalar(request: Any, name: str, default: Any) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        return default
    values = tensor.as_numpy()
    if values.size != 1:
        raise BadRequest(f"{name} holds {values.size} values, not one")
    return values.item()
