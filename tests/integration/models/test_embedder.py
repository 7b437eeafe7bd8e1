"""The embedder in the real Triton: shape, meaning in order, batches."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as grpc_client

from tests import servers

Vectors = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture
async def client(triton: servers.Triton) -> AsyncIterator[Any]:
    made = grpc_client.InferenceServerClient(triton.grpc)
    yield made
    await made.close()


async def embed(client: Any, texts: list[str], *, is_query: bool) -> Vectors:
    text = grpc_client.InferInput("text", [len(texts), 1], "BYTES")
    text.set_data_from_numpy(np.array([[t.encode()] for t in texts], dtype=np.object_))
    flag = grpc_client.InferInput("is_query", [len(texts), 1], "BOOL")
    flag.set_data_from_numpy(np.full((len(texts), 1), is_query))
    result = await client.infer("embedder", [text, flag], client_timeout=60)
    vectors: Vectors = result.as_numpy("embedding")
    return vectors


@pytest.mark.parametrize("text", ["hello", "", "\x00", "你好,世界", "🦉" * 10, "word " * 40_000])
async def test_any_text_is_a_unit_vector(client: Any, text: str) -> None:
    vectors = await embed(client, [text], is_query=False)
    assert vectors.shape == (1, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-3)


async def test_what_belongs_together_is_nearer_across_languages(client: Any) -> None:
    passages = await embed(
        client, ["The deployment freeze starts on Friday.", "My cat likes to sleep in the sun."], is_query=False
    )
    for question in ("When does the deployment freeze start?", "部署冻结从什么时候开始?"):
        (query,) = await embed(client, [question], is_query=True)
        related, unrelated = passages @ query
        assert related > unrelated


async def test_queries_and_passages_are_not_the_same(client: Any) -> None:
    (query,) = await embed(client, ["hello"], is_query=True)
    (passage,) = await embed(client, ["hello"], is_query=False)
    assert not np.allclose(query, passage, atol=1e-3)


async def test_a_batch_answers_each_its_own(client: Any) -> None:
    texts = [f"fact number {i} about {'cats' if i % 2 else 'ships'}" for i in range(24)]
    alone = [await embed(client, [text], is_query=i % 3 == 0) for i, text in enumerate(texts)]
    together = await asyncio.gather(*(embed(client, [text], is_query=i % 3 == 0) for i, text in enumerate(texts)))
    for one, other in zip(alone, together, strict=True):
        assert np.allclose(one, other, atol=1e-4)
