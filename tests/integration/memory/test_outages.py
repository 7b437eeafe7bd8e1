"""Memory while its servers are killed, stopped, emptied or not there yet."""

import asyncio
import gc
import secrets
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from herald_agent.memory.embedding import Embedded, TritonEmbedder
from herald_agent.memory.vectors import MilvusVectors, Row, VectorsUnavailable
from herald_agent.store.migrate import migrate
from herald_contracts.errors import TemporaryError
from herald_contracts.subjects import Names
from tests import servers
from tests.integration.memory.conftest import LIMIT, MakeWorker, Worker, until
from tests.integration.memory.test_stored import age, told
from tests.unit.agent.memory.contract import ANNA, PREFERENCES

QUESTION, ANSWER = "What is the name of my dog?", "my dog is called Rex"


async def found(worker: Worker) -> bool:
    """Whether the question finds its fact, by its vector."""
    return ANSWER in [fact.text for fact in await worker.memory.recall(ANNA, QUESTION)]


async def ready(worker: Worker) -> None:
    """Facts with vectors, old enough that only a search finds the one asked for."""
    worker.run()
    await told(worker, ANNA, *PREFERENCES)
    await age(worker)
    await until(lambda: found(worker))
    worker.outcomes.clear()


async def test_killing_milvus_loses_nothing(
    worker: MakeWorker, database: str, own_milvus: servers.Milvus, triton: servers.Triton
) -> None:
    one = await worker(database, own_milvus.uri, triton.grpc)
    await ready(one)
    own_milvus.kill()
    assert await one.memory.recall(ANNA, QUESTION) == ()
    assert one.outcomes == ["failed"]
    during = await one.memory.remember(ANNA, "told while Milvus was down", "t2")
    await own_milvus.restart()
    await until(lambda: found(one))
    await one.written()
    space = (await one.embedder.embed(["."], query=False)).space
    assert await one.vectors.count(space) == len(PREFERENCES) + 1
    assert during in await one.memory.recall(ANNA, "what was told while Milvus was down?")


async def test_a_stopped_milvus_costs_a_turn_its_memory_and_nothing_else(
    worker: MakeWorker, database: str, own_milvus: servers.Milvus, triton: servers.Triton
) -> None:
    one = await worker(database, own_milvus.uri, triton.grpc, seconds=1.0)
    await ready(one)
    own_milvus.pause()
    for _ in range(5):
        assert await one.memory.recall(ANNA, QUESTION) == ()
    assert one.outcomes == ["skipped"] * 5
    assert await ended(one)
    own_milvus.resume()
    await until(lambda: found(one))


async def ended(worker: Worker) -> bool:
    """Whether the recalls that were given up are gone, and did not stay behind waiting."""
    async with asyncio.timeout(20):
        while [task for task in asyncio.all_tasks() if task.get_name() == "recall"]:
            await asyncio.sleep(0.01)
    return True


async def test_a_stopped_milvus_does_not_stop_remembering(
    worker: MakeWorker, database: str, own_milvus: servers.Milvus, triton: servers.Triton
) -> None:
    one = await worker(database, own_milvus.uri, triton.grpc)
    await ready(one)
    own_milvus.pause()
    async with asyncio.timeout(20):
        for n in range(20):
            await one.memory.remember(ANNA, f"fact {n}", "t2")
    assert await one.unwritten() > 0
    own_milvus.resume()
    await one.written()


async def test_an_emptied_milvus_is_filled_again(
    worker: MakeWorker, database: str, own_milvus: servers.Milvus, triton: servers.Triton
) -> None:
    one = await worker(database, own_milvus.uri, triton.grpc)
    await ready(one)
    own_milvus.kill()
    shutil.rmtree(own_milvus.program.cwd / "data")
    await own_milvus.restart()
    await until(lambda: found(one))
    await one.written()
    space = (await one.embedder.embed(["."], query=False)).space
    assert await one.vectors.count(space) == len(PREFERENCES)


async def test_single_vectors_that_were_lost_are_written_again(
    worker: MakeWorker, database: str, own_milvus: servers.Milvus, triton: servers.Triton
) -> None:
    one = await worker(database, own_milvus.uri, triton.grpc)
    await ready(one)
    await one.stop()
    # As after a power failure: Milvus Lite does not sync its log to the disk.
    space = (await one.embedder.embed(["."], query=False)).space
    async with one.pool.connection() as connection:
        await connection.execute(
            """
            INSERT INTO facts (id, user_key, text, turn, embedder, created_at)
            VALUES ('flost', %s, 'my boat is called Nina', 't1', %s, now() - interval '2 hours')
            """,
            (ANNA, space),
        )
    one.run()

    async def boat() -> bool:
        return "my boat is called Nina" in [f.text for f in await one.memory.recall(ANNA, "How is my boat called?")]

    await until(boat)


async def test_a_worker_may_start_before_milvus(
    worker: MakeWorker, database: str, triton: servers.Triton, tmp_path: Path
) -> None:
    milvus = servers.Milvus(tmp_path / "milvus")  # knows its address, is not running
    one = await worker(database, milvus.uri, triton.grpc)
    one.run()
    for text in PREFERENCES:
        await one.memory.remember(ANNA, text, "t1")
    assert await one.memory.recall(ANNA, QUESTION) == ()
    assert one.outcomes == ["failed"]
    milvus.start()
    try:
        await one.written()
        await age(one)
        await until(lambda: found(one))
    finally:
        await one.stop()
        await one.vectors.close()
        milvus.stop()


async def test_without_triton_few_facts_are_recalled_and_many_are_counted_as_failed(
    worker: MakeWorker, database: str, milvus: servers.Milvus
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        one = await worker(database, milvus.uri, f"127.0.0.1:{closed.getsockname()[1]}")
        for text in PREFERENCES[:LIMIT]:
            await one.memory.remember(ANNA, text, "t1")
        assert len(await one.memory.recall(ANNA, QUESTION)) == LIMIT
        await one.memory.remember(ANNA, PREFERENCES[LIMIT], "t1")
        assert await one.memory.recall(ANNA, QUESTION) == ()
        assert one.outcomes == ["hit", "failed"]


async def test_triton_comes_back(
    worker: MakeWorker, database: str, milvus: servers.Milvus, own_triton: servers.Triton
) -> None:
    one = await worker(database, milvus.uri, own_triton.grpc)
    await ready(one)
    own_triton.kill()
    assert await one.memory.recall(ANNA, QUESTION) == ()
    await one.memory.remember(ANNA, "told while Triton was down", "t2")
    await own_triton.restart()
    await until(lambda: found(one))
    await one.written()


async def test_a_stopped_postgres_cannot_pile_up_recalls(
    worker: MakeWorker, own_postgres: servers.Postgres, milvus: servers.Milvus, triton: servers.Triton
) -> None:
    dsn = own_postgres.create(f"test_{secrets.token_hex(4)}")
    migrate(dsn)
    one = await worker(dsn, milvus.uri, triton.grpc, seconds=0.5)
    await ready(one)
    own_postgres.pause()
    await asyncio.gather(*(one.memory.recall(ANNA, QUESTION) for _ in range(60)))
    assert one.outcomes == ["skipped"] * 60
    assert len([task for task in asyncio.all_tasks() if task.get_name() == "recall"]) <= 60
    for _ in range(20):
        await one.memory.recall(ANNA, QUESTION)
    assert one.outcomes == ["skipped"] * 80
    own_postgres.resume()
    await until(lambda: found(one))


class Counting(MilvusVectors):
    """Milvus, noticing who writes at the same time as who."""

    writing = 0
    at_once = 0
    by: list[str]

    def __init__(self, uri: str, names: Names, name: str, by: list[str]) -> None:
        super().__init__(uri, names)
        self._by, self._who = by, name

    async def write(self, space: str, rows: Sequence[Row]) -> None:
        Counting.writing += 1
        Counting.at_once = max(Counting.at_once, Counting.writing)
        try:
            await super().write(space, rows)
            self._by.append(self._who)
        finally:
            Counting.writing -= 1


async def test_two_workers_never_write_at_the_same_time(
    worker: MakeWorker, database: str, milvus: servers.Milvus, triton: servers.Triton, names: Names
) -> None:
    by: list[str] = []
    Counting.at_once = 0
    both = [
        await worker(database, milvus.uri, triton.grpc, vectors=Counting(milvus.uri, names, name, by)) for name in "ab"
    ]
    for one in both:
        one.run()

    async def tell(one: Worker, letter: str) -> None:
        for n in range(30):
            await one.memory.remember(ANNA, f"fact {letter} {n}", "t1")

    await asyncio.gather(tell(both[0], "x"), tell(both[1], "y"))
    await both[0].written()
    assert Counting.at_once == 1
    assert len(set(by)) == 1
    # The one that wrote loses its session, as if its machine had died: the other goes on, and again one alone.
    async with both[0].pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        assert await cursor.fetchall() == [(True,)]
    await asyncio.gather(tell(both[0], "v"), tell(both[1], "w"))
    await both[0].written()
    assert Counting.at_once == 1


async def test_a_worker_that_ends_hands_the_writing_on(
    worker: MakeWorker, database: str, milvus: servers.Milvus, triton: servers.Triton
) -> None:
    first = await worker(database, milvus.uri, triton.grpc)
    second = await worker(database, milvus.uri, triton.grpc)
    await ready(first)
    second.run()
    await first.stop()
    await second.memory.remember(ANNA, "told to the second", "t2")
    await second.written()


class Renamed:
    """The same embedder, as if Triton had other weights from some moment on."""

    def __init__(self, inner: TritonEmbedder) -> None:
        self._inner = inner
        self.suffix = ""

    async def embed(self, texts: Sequence[str], *, query: bool) -> Embedded:
        embedded = await self._inner.embed(texts, query=query)
        return Embedded(embedded.space + self.suffix, embedded.vectors)

    async def close(self) -> None:
        await self._inner.close()


async def test_another_model_never_searches_the_old_ones_vectors_and_a_rollback_finds_them(
    worker: MakeWorker, database: str, milvus: servers.Milvus, triton: servers.Triton
) -> None:
    embedder = Renamed(TritonEmbedder(triton.grpc, "embedder"))
    one = await worker(database, milvus.uri, triton.grpc, embedder=embedder)
    await ready(one)
    old = (await embedder.embed(["."], query=False)).space
    embedder.suffix = "-b"
    new = (await embedder.embed(["."], query=False)).space
    # The writer learns of it with the next fact it embeds.
    await one.memory.remember(ANNA, "told to the new model", "t2")
    await until(lambda: moved(one, new))
    assert await one.vectors.count(new) == len(PREFERENCES) + 1
    assert await one.vectors.count(old) == len(PREFERENCES)
    assert await found(one)
    embedder.suffix = ""
    assert await found(one)


async def moved(worker: Worker, space: str) -> bool:
    async with worker.pool.connection() as connection:
        cursor = await connection.execute("SELECT DISTINCT coalesce(embedder, '') FROM facts")
        return await cursor.fetchall() == [(space,)]


async def test_a_crash_between_vector_and_mark_leaves_one_vector_per_fact(
    worker: MakeWorker, database: str, milvus: servers.Milvus, triton: servers.Triton, names: Names
) -> None:
    class Dying(MilvusVectors):
        deaths = 0

        async def write(self, space: str, rows: Sequence[Row]) -> None:
            await super().write(space, rows)
            if self.deaths < 3:
                self.deaths += 1
                raise VectorsUnavailable("the answer never arrived")

    one = await worker(database, milvus.uri, triton.grpc, vectors=Dying(milvus.uri, names))
    await ready(one)
    space = (await one.embedder.embed(["."], query=False)).space
    assert await one.vectors.count(space) == len(PREFERENCES)


async def test_nothing_stays_behind_after_close(alone: Worker, milvus: servers.Milvus, triton: servers.Triton) -> None:
    await ready(alone)
    await alone.stop()
    assert open_to(milvus.uri) > 0
    assert open_to(triton.grpc) > 0
    await alone.memory.close()
    left = [repr(task) for task in asyncio.all_tasks()]
    assert [task for task in left if "herald_agent/memory" in task or "pymilvus" in task] == []
    with pytest.raises(TemporaryError):
        await alone.vectors.search("m-1-384", ANNA, [0.0] * 384, 1)

    async def closed() -> bool:
        gc.collect()  # gRPC closes a socket when nothing refers to its channel, and pymilvus refers to it in a circle
        return open_to(milvus.uri) + open_to(triton.grpc) == 0

    await until(closed)


def open_to(address: str) -> int:
    """How many TCP connections there are to a port of this machine, from the kernel's table."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    # gRPC's sockets speak IPv6, also to an IPv4 address.
    tables = "".join(Path(f"/proc/self/net/{name}").read_text() for name in ("tcp", "tcp6"))
    lines = [line.split() for line in tables.splitlines()]
    return sum(remote.endswith(port) and state == "01" for _, _, remote, state, *_ in lines if ":" in remote)
