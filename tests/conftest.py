"""Fixtures that every tier shares: real servers, one set per session, and fresh ones for tests that break them."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from nats.js.errors import NotFoundError

from herald_agent.store.migrate import migrate
from herald_cli import chat_model
from herald_contracts.streams import topology
from herald_contracts.subjects import Names
from herald_operator import messaging
from herald_runtime import rollout
from herald_runtime.connection import connect
from tests import servers

_Server = TypeVar("_Server", bound=servers.Server)
_CHAT = {"HERALD_CHAT_GGUF": str(chat_model.locate(chat_model.SMOLLM2, Path())), "HERALD_CHAT_SLOTS": "2"}


@contextlib.contextmanager
def _running(server: _Server) -> Iterator[_Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Nats]:
    """The session's NATS: never stopped by a test. `.url`, `.settings`."""
    with _running(servers.Nats(tmp_path_factory.mktemp("nats"))) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Postgres]:
    """The session's PostgreSQL: never stopped by a test. `.dsn` of an empty database."""
    with _running(servers.Postgres(tmp_path_factory.mktemp("postgres"))) as server:
        yield server


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Milvus]:
    """The session's Milvus Lite. `.uri`."""
    with _running(servers.Milvus(tmp_path_factory.mktemp("milvus"))) as server:
        yield server


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Triton]:
    """The session's Triton with every model of `inference/local`. `.grpc`."""
    servers.sweep_dead_sessions()
    models = ("scripted", "embedder", "tensorrt_llm")
    with _running(servers.Triton(tmp_path_factory.mktemp("triton"), models, _CHAT)) as server:
        yield server


@pytest.fixture(scope="session")
def _migrated(postgres: servers.Postgres) -> str:
    """A database with every migration applied, to copy from: a copy takes a tenth of the time."""
    migrate(postgres.create("migrated"))
    return "migrated"


@pytest.fixture
def database(postgres: servers.Postgres, _migrated: str) -> Iterator[str]:
    """Connection string of a fresh, migrated database; it is gone after the test."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres.create(name, template=_migrated)
    postgres.drop(name)


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[servers.Nats]:
    """A NATS of this test's own: `kill`, `pause`, `resume`, `restart`."""
    with _running(servers.Nats(tmp_path / "nats")) as server:
        yield server


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[servers.Postgres]:
    """A PostgreSQL of this test's own."""
    with _running(servers.Postgres(tmp_path / "postgres")) as server:
        yield server


@pytest.fixture
def own_milvus(tmp_path: Path) -> Iterator[servers.Milvus]:
    """A Milvus Lite of this test's own."""
    with _running(servers.Milvus(tmp_path / "milvus")) as server:
        yield server


@pytest.fixture
def own_triton(tmp_path: Path) -> Iterator[servers.Triton]:
    """A Triton of this test's own, with the scripted model and the embedder."""
    with _running(servers.Triton(tmp_path / "triton", ("scripted", "embedder"))) as server:
        yield server


@pytest.fixture
async def deployment(nats: servers.Nats) -> AsyncIterator[Names]:
    """Names that no other test uses, with their streams on the session's NATS; its chat page is channel `web`.

    Revision `r1`, which tests give their workers, is the active one.
    """
    names = Names("test", f"d{secrets.token_hex(6)}")
    wanted = topology(names, web_channels=("web",), storage=256 * 2**20)
    client = await connect(nats.settings, "fixture")
    try:
        await messaging.ensure(client, wanted)
        await rollout.activate(client, names, "r1")
        yield names
        manager = client.jsm()
        for stream in wanted.streams:
            with contextlib.suppress(NotFoundError):
                await manager.delete_stream(stream.name)
        for bucket in wanted.buckets:
            with contextlib.suppress(NotFoundError):
                await manager.delete_stream(f"KV_{bucket.name}")
    finally:
        await client.close()
