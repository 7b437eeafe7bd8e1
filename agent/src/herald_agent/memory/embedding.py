"""Texts to vectors, by the embedder in Triton.

Vectors of two models must never meet in one search, so each answer names its space: model, version and length
as the server that computed it says, not as somebody configured it. Other weights in Triton need another version
folder (or model name); then the space, and with it the Milvus collection, is another.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from tritonclient.grpc import aio
from tritonclient.utils import InferenceServerException

from herald_contracts.errors import TemporaryError

Vector = list[float]


class EmbedderUnavailable(TemporaryError):
    """The embedder is away, busy, or not loaded yet. Temporary also where a setting is wrong: it may be mended."""


class EmbedderRefused(EmbedderUnavailable):
    """The embedder is there and failed on this request; perhaps because of a text in it."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """One vector per text, in their order, all of `space` and of length 1."""

    space: str
    vectors: tuple[Vector, ...]


class Embedder(Protocol):
    async def embed(self, texts: Sequence[str], *, query: bool) -> Embedded:
        """`query`: the texts are what is searched with, not what is to be found.

        Raises EmbedderUnavailable, or its kind EmbedderRefused.
        """

    async def close(self) -> None: ...


class TritonEmbedder:
    """The model `embedder` of inference/local, or any with its tensors: text, is_query -> embedding."""

    def __init__(self, url: str, model: str, *, seconds: float = 10) -> None:
        self._url = url
        self._model = model
        self._seconds = seconds
        self._client: Any = None

    async def embed(self, texts: Sequence[str], *, query: bool) -> Embedded:
        if self._client is None:
            # Made here and not in __init__: it belongs to the running loop.
            self._client = aio.InferenceServerClient(self._url, channel_args=_CHANNEL)
        try:
            result = await self._client.infer(self._model, _inputs(texts, query=query), client_timeout=self._seconds)
        except InferenceServerException as e:
            status = e.status() or "no answer"
            kind = EmbedderRefused if status in _REFUSED else EmbedderUnavailable
            raise kind(f"embedder {self._model!r}: {status}") from None
        except asyncio.CancelledError:
            if wanted():
                raise
            raise EmbedderUnavailable(f"embedder {self._model!r}: the connection was closed") from None
        matrix = result.as_numpy("embedding")
        if matrix is None or matrix.ndim != 2 or len(matrix) != len(texts):
            raise EmbedderUnavailable(f"embedder {self._model!r} answers in another form than its README says")
        # Of length 1 the inner product is the cosine, and Milvus need not divide by lengths at each search.
        matrix = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
        version = result.get_response().model_version
        return Embedded(f"{self._model}-{version}-{matrix.shape[1]}", tuple(matrix.tolist()))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


# The way to the embedder is inside the deployment: never through a proxy. gRPC's own pause between attempts to
# connect grows to two minutes, and a server that is back would stay unused for that long.
_CHANNEL = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


def wanted() -> bool:
    """Whether the CancelledError in hand was meant for this task.

    gRPC raises one into whoever waits for a call on a channel that is closed, and that must not end a loop.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


# What Triton answers when the input is wrong, or when the model's own code failed on it.
_REFUSED = ("StatusCode.INVALID_ARGUMENT", "StatusCode.INTERNAL")


def _inputs(texts: Sequence[str], *, query: bool) -> list[Any]:
    text = aio.InferInput("text", [len(texts), 1], "BYTES")
    text.set_data_from_numpy(np.array([[one.encode()] for one in texts], dtype=np.object_))
    is_query = aio.InferInput("is_query", [len(texts), 1], "BOOL")
    is_query.set_data_from_numpy(np.full((len(texts), 1), query, dtype=np.bool_))
    return [text, is_query]
