"""What of the Milvus adapter needs no Milvus."""

import asyncio
import base64
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_agent.memory.create import create_memory
from herald_agent.memory.embedding import EmbedderUnavailable, TritonEmbedder
from herald_agent.memory.vectors import MilvusVectors, VectorsUnavailable, _mapped, collection_name
from herald_contracts import settings
from herald_contracts.errors import ConfigurationError
from herald_contracts.identity import user_key
from herald_contracts.subjects import Names
from herald_runtime.secrets import SecretFolder

_label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(_label, _label, st.text(max_size=200))
def test_a_collection_name_is_one_that_milvus_takes(namespace: str, name: str, space: str) -> None:
    collection = collection_name(Names(namespace, name), space)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", collection)
    assert len(collection) <= 255


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b", "m-1-384"), ("a", "b", "m-2-384")),
        (("a", "b-c", "m-1-384"), ("a-b", "c", "m-1-384")),
        (("a", "b", "m-1-384"), ("a", "c", "m-1-384")),
        (("a", "b", "m_1"), ("a", "b", "m-1")),
        (("a", "b", "m" * 300 + "1"), ("a", "b", "m" * 300 + "2")),
    ],
)
def test_collections_never_meet(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert collection_name(Names(*one[:2]), one[2]) != collection_name(Names(*other[:2]), other[2])


def test_a_worker_without_facts_does_not_load_pymilvus() -> None:
    code = "import sys, herald_agent.memory.create; sys.exit('pymilvus' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_filter_cannot_be_written_into_a_user_key() -> None:
    vectors = MilvusVectors("http://127.0.0.1:1", Names("a", "b"))
    with pytest.raises(ValueError, match="not a user key"):
        await vectors.search("m-1-3", 'u" or user_key != "', [0.0] * 3, 1)
    await vectors.close()


async def test_a_search_without_a_connection_fails_at_once_and_has_one_made() -> None:
    vectors = MilvusVectors("http://127.0.0.1:1", Names("a", "b"))
    with pytest.raises(VectorsUnavailable, match="not connected"):
        await vectors.search("m-1-3", user_key("web", "anna"), [0.0] * 3, 1)
    with pytest.raises(VectorsUnavailable):
        await vectors.connect()
    await vectors.close()
    with pytest.raises(VectorsUnavailable, match="closed"):
        await vectors.connect()


async def test_a_closed_connection_does_not_look_like_a_cancelled_task() -> None:
    async def by_grpc() -> None:
        raise asyncio.CancelledError

    with pytest.raises(VectorsUnavailable):
        await _mapped(by_grpc())


async def test_a_cancelled_task_is_cancelled() -> None:
    task = asyncio.create_task(_mapped(asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_embedder_that_is_away_is_a_temporary_error() -> None:
    embedder = TritonEmbedder("127.0.0.1:1", "embedder")
    with pytest.raises(EmbedderUnavailable, match="UNAVAILABLE"):
        await embedder.embed(["a"], query=True)
    await embedder.close()


class Listening(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """A Milvus that says yes to everything, and remembers who asked: an empty answer is a good one."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()

    def service(self, details: Any) -> Any:
        for key, value in details.invocation_metadata or ():
            if key == "authorization":
                self.tokens.add(base64.b64decode(value).decode())

        async def yes(*_: object) -> bytes:
            return b""

        return grpc.unary_unary_rpc_method_handler(yes)


@pytest.mark.parametrize("token", ["root:Milvus", "an-api-key", None])
async def test_the_token_goes_with_the_calls(tmp_path: Path, token: str | None) -> None:
    listening, server = Listening(), grpc.aio.server()
    server.add_generic_rpc_handlers((listening,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    (tmp_path / "token").write_text(f"{token}\n")
    secret = SecretFolder(tmp_path) if token is not None else None
    vectors = MilvusVectors(f"http://127.0.0.1:{port}", Names("a", "b"), secret)
    try:
        await vectors.connect()
    finally:
        await vectors.close()
        await server.stop(None)
    assert listening.tokens == ({token} if token is not None else set())


async def test_a_token_that_is_gone_is_a_temporary_error(tmp_path: Path) -> None:
    vectors = MilvusVectors("http://127.0.0.1:1", Names("a", "b"), SecretFolder(tmp_path))
    with pytest.raises(VectorsUnavailable, match="token"):
        await vectors.connect()
    await vectors.close()


async def test_credentials_without_a_token_are_refused_at_the_start(tmp_path: Path) -> None:
    asked = settings.Memory(milvus_uri="http://127.0.0.1:1", embedder_url="127.0.0.1:1", credentials=tmp_path)
    with pytest.raises(ConfigurationError, match="'token' is missing"):
        await create_memory(asked, None, Names("a", "b"))  # type: ignore[arg-type]
