"""What Triton's messages and statuses mean."""

import struct

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from herald_agent.models.fitting import PromptTooLong
from herald_agent.models.ports import ModelDeadline, ModelRefused, ModelUnavailable
from herald_agent.models.streaming import Chunk
from herald_agent.models.triton import as_error, decoded, read_response
from herald_contracts.errors import HeraldError


def packed(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def response(*, error: str = "", final: bool = False, **outputs: bytes) -> service_pb2.ModelStreamInferResponse:
    message = service_pb2.ModelStreamInferResponse(error_message=error)
    for name, content in outputs.items():
        message.infer_response.outputs.add(name=name)
        message.infer_response.raw_output_contents.append(content)
    message.infer_response.parameters["triton_final_response"].bool_param = final
    return message


@pytest.mark.parametrize(
    ("message", "chunk"),
    [
        (response(text_output=packed(b"hi")), Chunk("hi")),
        (response(text_output=packed(b"hi"), finish_reason=packed(b"None")), Chunk("hi")),
        (response(text_output=packed(b"hi"), finish_reason=packed(b"stop"), final=True), Chunk("hi", "stop")),
        (response(text_output=packed(b"hi"), finish_reason=packed(b"length")), Chunk("hi", "length")),
        (
            response(
                text_output=packed(b"hi"),
                finish_reason=packed(b"stop"),
                input_tokens=struct.pack("<i", 7),
                output_tokens=struct.pack("<i", 1),
            ),
            Chunk("hi", "stop", 7, 1),
        ),
        (response(final=True), None),
        (response(text_output=packed(b"")), Chunk("")),
        (response(text_output=packed("né".encode()[:2])), Chunk("n")),
        (response(text_output=packed("né".encode()[:2]), final=True), Chunk("n\ufffd")),
        (response(text_output=packed(b"a\xffb")), Chunk("a\ufffdb")),
        (response(text_output=packed(b"N/A"), finish_reason=packed(b"stop"), final=True), Chunk("N/A", "stop")),
    ],
)
def test_a_message_is_the_whole_text_so_far(message: service_pb2.ModelStreamInferResponse, chunk: Chunk | None) -> None:
    assert read_response(message) == chunk


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (response(error="it broke"), ModelUnavailable),
        (response(error="it broke", text_output=packed(b"N/A")), ModelUnavailable),
        (response(error="prompt is too long"), ModelRefused),
        (response(text_output=packed(b"N/A"), final=True), ModelUnavailable),
        (response(text_output=packed(b"hi"), finish_reason=packed(b"cancelled")), ModelUnavailable),
        (response(text_output=packed(b"hi"), finish_reason=packed(b"timeout")), ModelUnavailable),
        (response(text_output=b"\x05"), ModelUnavailable),
        (response(text_output=packed(b"hi")[:-1]), ModelUnavailable),
        (response(text_output=packed(b"hi"), input_tokens=b"\x01"), ModelUnavailable),
    ],
)
def test_a_message_that_is_no_text_is_an_error(
    message: service_pb2.ModelStreamInferResponse, error: type[HeraldError]
) -> None:
    with pytest.raises(error):
        read_response(message)


@given(text=st.binary(max_size=40), reason=st.binary(max_size=12), count=st.binary(max_size=6), final=st.booleans())
def test_any_message_is_a_chunk_or_one_of_the_ports_errors(
    text: bytes, reason: bytes, count: bytes, final: bool
) -> None:
    message = response(text_output=text, finish_reason=reason, output_tokens=count, final=final)
    try:
        chunk = read_response(message)
    except ModelUnavailable:
        return
    assert chunk is not None


@given(text=st.text(), cut=st.integers(0, 10))
def test_a_cut_character_is_held_back(text: str, cut: int) -> None:
    data = text.encode("utf-8", "replace")
    shown = decoded(data[: max(len(data) - cut, 0)], final=False)
    assert data.decode().startswith(shown)


Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "detail", "error"),
    [
        (Code.UNAVAILABLE, "Socket closed", ModelUnavailable),
        (Code.INTERNAL, "failed", ModelUnavailable),
        (Code.UNKNOWN, "Request for unknown model: 'x' is not found", ModelUnavailable),
        (Code.NOT_FOUND, "no such model", ModelUnavailable),
        (Code.RESOURCE_EXHAUSTED, "too many", ModelUnavailable),
        (Code.CANCELLED, "", ModelUnavailable),
        (Code.DEADLINE_EXCEEDED, "", ModelDeadline),
        (Code.UNKNOWN, "refused: scripted: this request can never work", ModelRefused),
        (Code.UNKNOWN, "[request id: x] unexpected inference input 'a' for model 'b'", ModelRefused),
        (Code.INVALID_ARGUMENT, "anything", ModelRefused),
        (Code.UNAUTHENTICATED, "", ModelRefused),
        (Code.INVALID_ARGUMENT, "the prompt is too long: 9 tokens", PromptTooLong),
        (Code.INTERNAL, "The sum of prompt length and max_tokens should not exceed max_num_tokens", PromptTooLong),
    ],
)
def test_statuses_become_the_ports_errors(code: grpc.StatusCode, detail: str, error: type[HeraldError]) -> None:
    assert type(as_error(code, detail)) is error


def test_a_long_detail_is_cut_and_kept_on_one_line() -> None:
    text = str(as_error(Code.UNAVAILABLE, "a\nb\n" + "x" * 5_000))
    assert "\n" not in text
    assert len(text) < 400
