"""Vectors in Milvus. The only module that knows pymilvus, and it loads it late.

pymilvus brings pandas: 90 MB and half a second to two seconds. A worker whose users never asked it to remember
anything does not pay that, and one that does pays it in a thread, not in the event loop.

One collection per deployment and vector space, named for both, so that a search can meet neither another
deployment's vectors nor those of another model, and a rollback finds the old model's vectors as it left them.
The index is FLAT: every search is within one user's facts, which are few; a graph over everybody's facts is
no faster there and misses some.

Text stays in PostgreSQL. `user_key` goes into a filter expression, so nothing but its one safe form is accepted.
"""

import asyncio
import contextlib
import hashlib
import importlib
import logging
import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any, Protocol, TypeVar

import grpc

from herald_agent.memory.choosing import checked
from herald_agent.memory.embedding import Vector, wanted
from herald_contracts.errors import ConfigurationError, TemporaryError
from herald_contracts.subjects import Names
from herald_runtime.secrets import SecretFolder

T = TypeVar("T")

_CALL = 10.0  # seconds for any call; recall gives up much earlier by itself
# Milvus's codes of "no such collection" and "not loaded" (internal/util/merr of Milvus; Milvus Lite has the same).
_MISSING, _NOT_LOADED = 100, 101


class VectorsUnavailable(TemporaryError):
    """Milvus is away, restarting, or cannot do it now."""


class CollectionMissing(VectorsUnavailable):
    """Milvus answers and has no such collection: never made, or its data was lost."""


@dataclass(frozen=True, slots=True)
class Row:
    """What Milvus keeps of a fact. The vector is of length 1."""

    id: str
    user_key: str
    created_at: datetime
    vector: Vector


class Vectors(Protocol):
    """Vectors by space. Every method may raise VectorsUnavailable; those on one space CollectionMissing."""

    async def connect(self) -> None:
        """Be ready for searches, which do not wait for it. Cheap when it is already."""

    async def exists(self, space: str) -> bool: ...

    async def prepare(self, space: str, dimension: int) -> None:
        """Make the collection, or complete one that a crash left half made."""

    async def count(self, space: str) -> int: ...

    async def write(self, space: str, rows: Sequence[Row]) -> None:
        """Insert or replace by id; not to be called by two at once. Searches find them when it returns.

        (On a cluster within its staleness bound.)
        """

    async def search(self, space: str, user_key: str, vector: Vector, limit: int) -> list[str]:
        """Ids of this user's facts, nearest first. Fails at once while there is no connection."""

    async def close(self) -> None: ...


def collection_name(names: Names, space: str) -> str:
    """Readable, and by its last part never equal for two deployments or spaces."""
    readable = re.sub(r"[^a-z0-9]+", "_", f"herald_{names.namespace}_{names.name}_{space}".lower())[:200]
    return f"{readable}_{hashlib.sha256(f'{names.namespace}/{names.name}/{space}'.encode()).hexdigest()[:12]}"


class MilvusVectors:
    """Vectors in a Milvus server, or in Milvus Lite as a server."""

    def __init__(self, uri: str, names: Names, secret: SecretFolder | None = None) -> None:
        """`secret` holds `token`, which is read for each connection; without one Milvus is asked without."""
        self._uri = uri
        self._secret = secret
        self._names = names
        self._tenant = f"{names.namespace}/{names.name}"
        self._client: Any = None
        self._lite = False
        self._closed = False
        # Work that outlives the call that wanted it: a recall gives up after 50 ms, the connection is made anyway.
        self._connecting: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        if self._client is None:
            await asyncio.shield(self._connect_once())

    async def exists(self, space: str) -> bool:
        client = await self._connected()
        return bool(await _mapped(client.has_collection(self._name(space), timeout=_CALL)))

    async def prepare(self, space: str, dimension: int) -> None:
        client, name = await self._connected(), self._name(space)
        if not await _mapped(client.has_collection(name, timeout=_CALL)):
            schema = _schema(_pymilvus(), dimension)
            await _mapped(client.create_collection(name, schema=schema, consistency_level="Bounded", timeout=_CALL))
        if not await _mapped(client.list_indexes(name, timeout=_CALL)):
            index = client.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type="IP")
            # pymilvus then waits for the index to be built by asking for a timestamp, which Milvus Lite does not
            # have; its index is complete when the call that creates it returns.
            with contextlib.suppress(_NotImplemented):
                await _mapped(client.create_index(name, index, timeout=_CALL))
        await self._load(space)

    async def count(self, space: str) -> int:
        client = await self._connected()
        rows = await self._on(
            space, client.query(self._name(space), filter="", output_fields=["count(*)"], timeout=_CALL)
        )
        return int(rows[0]["count(*)"])

    async def write(self, space: str, rows: Sequence[Row]) -> None:
        client, name = await self._connected(), self._name(space)
        data = [
            {
                "id": row.id,
                "tenant": self._tenant,
                "user_key": row.user_key,
                "created_at": int(row.created_at.timestamp() * 1000),
                "vector": row.vector,
            }
            for row in rows
        ]
        await self._on(space, client.upsert(name, data, timeout=_CALL))
        if self._lite:
            # Milvus Lite searches rows that are not flushed at 0.15 ms each. A server flushes by itself, and better.
            await self._on(space, client.flush(name, timeout=_CALL))

    async def search(self, space: str, user_key: str, vector: Vector, limit: int) -> list[str]:
        expression = f'tenant == "{self._tenant}" and user_key == "{checked(user_key)}"'
        if self._client is None:
            self._connect_once()
            raise VectorsUnavailable("not connected to Milvus yet")
        hits = await self._on(
            space,
            self._client.search(
                self._name(space), data=[vector], filter=expression, limit=limit, output_fields=["id"], timeout=_CALL
            ),
        )
        return [str(hit["id"]) for hit in hits[0]]

    async def close(self) -> None:
        self._closed = True
        for task in (self._connecting, self._loading):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await _mapped(client.close())

    def _name(self, space: str) -> str:
        return collection_name(self._names, space)

    async def _connected(self) -> Any:
        await self.connect()
        return self._client

    def _connect_once(self) -> "asyncio.Task[None]":
        if self._closed:
            raise VectorsUnavailable("closed")
        # One at a time: pymilvus would open a channel for each caller and forget all but the last.
        if self._connecting is None or self._connecting.done():
            self._connecting = _in_background(self._connect(), "connect to Milvus")
        return self._connecting

    async def _connect(self) -> None:
        pymilvus = await asyncio.to_thread(_pymilvus)
        try:
            token = self._secret.get("token").decode() if self._secret is not None else ""
        except (ConfigurationError, UnicodeDecodeError):
            raise VectorsUnavailable("the token for Milvus cannot be read") from None
        client = pymilvus.AsyncMilvusClient(
            uri=self._uri,
            token=token,
            timeout=2,  # also how long pymilvus tries to connect again when a call finds the connection broken
            dedicated=True,  # else its connection stays open after close()
            grpc_options={"grpc.enable_http_proxy": 0},
        )
        try:
            version = await _mapped(client.get_server_version(timeout=_CALL))
        except BaseException:
            await client.close()
            raise
        self._lite = "lite" in str(version)
        self._client = client

    async def _on(self, space: str, call: Awaitable[T]) -> T:
        """The result of a call on the collection of `space`; has it loaded when Milvus says that it is not."""
        try:
            return await _mapped(call)
        except _NotLoaded:
            # Milvus Lite forgets after each restart which collections were loaded.
            if self._loading is None or self._loading.done():
                self._loading = _in_background(self._load(space), "load a collection")
            raise

    async def _load(self, space: str) -> None:
        client = await self._connected()
        await _mapped(client.load_collection(self._name(space), timeout=_CALL))


class _NotLoaded(VectorsUnavailable):
    """The collection is there and cannot be searched yet."""


class _NotImplemented(VectorsUnavailable):
    """This server does not have this call."""


async def _mapped(call: Awaitable[T]) -> T:
    """What pymilvus raises as our own errors. Its texts are left out: they may quote rows."""
    exceptions = importlib.import_module("pymilvus.exceptions")
    try:
        return await call
    except exceptions.MilvusException as e:
        if e.code == _MISSING:
            raise CollectionMissing("Milvus has no such collection") from None
        if e.code == _NOT_LOADED:
            raise _NotLoaded("the collection is not loaded") from None
        raise VectorsUnavailable(f"{type(e).__name__} {e.code}") from None
    except grpc.aio.AioRpcError as e:
        if e.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise _NotImplemented("Milvus: not implemented") from None
        raise VectorsUnavailable(f"Milvus: {e.code().name}") from None
    except TimeoutError:
        raise VectorsUnavailable("Milvus: no answer in time") from None
    except asyncio.CancelledError:
        if wanted():
            raise
        raise VectorsUnavailable("Milvus: the connection was closed") from None


def _in_background(work: Any, name: str) -> "asyncio.Task[None]":
    task: asyncio.Task[None] = asyncio.create_task(work, name=name)
    # Whoever waits for it hears of a failure; when nobody does, the next call finds out for itself.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _pymilvus() -> ModuleType:
    module = importlib.import_module("pymilvus")
    # It logs each failed call with a traceback; what matters of that comes to us as an exception.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return module


def _schema(pymilvus: ModuleType, dimension: int) -> Any:
    kind = pymilvus.DataType
    schema = pymilvus.AsyncMilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", kind.VARCHAR, is_primary=True, max_length=32)
    schema.add_field("vector", kind.FLOAT_VECTOR, dim=dimension)
    schema.add_field("tenant", kind.VARCHAR, max_length=128)
    schema.add_field("user_key", kind.VARCHAR, max_length=32)
    schema.add_field("created_at", kind.INT64)
    return schema
