"""Memory over PostgreSQL, Milvus and the embedder in Triton: what it keeps, finds, and to whom it shows it."""

import math

import pytest

from herald_agent.memory.create import create_memory
from herald_agent.memory.ports import Memory
from herald_agent.memory.vectors import MilvusVectors
from herald_contracts import settings
from herald_contracts.identity import user_key
from herald_contracts.subjects import Names
from tests import servers
from tests.integration.memory.conftest import LIMIT, MakeWorker, Worker
from tests.unit.agent.memory.contract import ANNA, BEN, PREFERENCES, MemoryContract, RankingContract

CHINESE = (
    "我的狗叫小黑",
    "我每周五在上海上班",
    "我对花生过敏",
    "我的妹妹在北京学医",
    "我喜欢喝茶，不喜欢喝咖啡",
    "我的火车早上七点出发",
    "我最喜欢的颜色是绿色",
)


class TestBeforeTheVectorsAreWritten(MemoryContract):
    """Nobody writes vectors here: what was just told must be known all the same."""

    @pytest.fixture
    async def memory(self, alone: Worker) -> Memory:
        await alone.vectors.connect()
        space = (await alone.embedder.embed(["."], query=False)).space
        await alone.vectors.prepare(space, 384)
        return alone.memory


class TestWithVectors(RankingContract):
    @pytest.fixture
    async def memory(self, alone: Worker) -> Memory:
        alone.run()
        self.worker = alone
        return alone.memory

    async def settle(self, memory: Memory) -> None:
        await self.worker.written()


async def test_an_embedding_says_whose_space_it_is_in(alone: Worker) -> None:
    stored = await alone.embedder.embed(["tea", "茶"], query=False)
    asked = await alone.embedder.embed(["tea"], query=True)
    assert stored.space == asked.space == "embedder-1-384"
    assert [math.hypot(*vector) for vector in stored.vectors] == pytest.approx([1.0, 1.0])
    assert stored.vectors[0] != asked.vectors[0]


async def told(worker: Worker, user: str, *texts: str) -> None:
    for text in texts:
        await worker.memory.remember(user, text, "t1")
    await worker.written()


async def texts(worker: Worker, user: str, message: str) -> list[str]:
    return [fact.text for fact in await worker.memory.recall(user, message)]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("What is the name of my dog?", "my dog is called Rex"),
        ("Where do I work at the end of the week?", "I work from Hamburg on Fridays"),
        ("Which food is dangerous for me?", "I am allergic to peanuts"),
        ("What is my sister doing?", "my sister studies medicine in Lyon"),
        ("我的狗叫什么名字？", "我的狗叫小黑"),
        ("哪些食物对我有危险？", "我对花生过敏"),
        ("我的妹妹学什么专业？", "我的妹妹在北京学医"),
        ("what is the dog called in Chinese, 小黑?", "我的狗叫小黑"),
    ],
)
async def test_a_question_finds_its_fact_by_meaning(alone: Worker, message: str, expected: str) -> None:
    alone.run()
    await told(alone, ANNA, *PREFERENCES, *CHINESE)
    await age(alone)
    assert expected in await texts(alone, ANNA, message)
    assert alone.outcomes == ["hit"]


async def age(worker: Worker) -> None:
    """Make all facts old enough to be found by their vectors only."""
    async with worker.pool.connection() as connection:
        await connection.execute("UPDATE facts SET created_at = created_at - interval '1 hour'")


async def test_another_worker_recalls_it_too(
    alone: Worker, worker: MakeWorker, database: str, milvus: servers.Milvus, triton: servers.Triton
) -> None:
    alone.run()
    await told(alone, ANNA, *PREFERENCES)
    other = await worker(database, milvus.uri, triton.grpc)
    await other.vectors.connect()
    await age(alone)
    assert "my dog is called Rex" in await texts(other, ANNA, "What is the name of my dog?")


async def test_among_many_users_with_alike_facts_everybody_gets_their_own(alone: Worker) -> None:
    alone.run()
    users = [user_key("web", f"user {n}") for n in range(25)]
    colours = ("red", "green", "blue", "black", "white", "grey")
    for n, user in enumerate(users):
        for colour in colours:
            await alone.memory.remember(user, f"the {colour} key opens door {n}", "t1")
    await alone.written()
    await age(alone)
    for n, user in enumerate(users):
        recalled = await texts(alone, user, "which door does the blue key open?")
        assert len(recalled) == LIMIT
        assert all(text.endswith(f" door {n}") for text in recalled)
        assert f"the blue key opens door {n}" in recalled
    assert await texts(alone, user_key("web", "user 99"), "which door does the blue key open?") == []
    assert await texts(alone, user_key("hooks", "user 1"), "which door does the blue key open?") == []


async def test_one_facts_user_is_asked_for_twice(alone: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if Milvus answered with strangers' ids, PostgreSQL would not give their texts."""
    alone.run()
    await told(alone, ANNA, *PREFERENCES)
    await told(alone, BEN, *(f"{text}, says Ben" for text in PREFERENCES))
    await age(alone)
    search = alone.vectors.search

    async def confused(space: str, _: str, vector: list[float], limit: int) -> list[str]:
        return await search(space, BEN, vector, limit)

    monkeypatch.setattr(alone.vectors, "search", confused)
    assert await texts(alone, ANNA, "What is the name of my dog?") == []


async def test_milvus_is_asked_for_one_user_only(alone: Worker) -> None:
    alone.run()
    await told(alone, ANNA, *PREFERENCES)
    await told(alone, BEN, *PREFERENCES)
    query = await alone.embedder.embed(["dog"], query=True)
    found = await alone.vectors.search(query.space, BEN, query.vectors[0], 100)
    async with alone.pool.connection() as connection:
        cursor = await connection.execute("SELECT id FROM facts WHERE user_key = %s", (BEN,))
        assert sorted(found) == sorted(row[0] for row in await cursor.fetchall())


async def test_a_fact_told_a_moment_ago_is_among_many_older_ones(alone: Worker) -> None:
    alone.run()
    await told(alone, ANNA, *PREFERENCES)
    await age(alone)
    await alone.stop()
    await alone.memory.remember(ANNA, "my new car is a truck", "t2")
    recalled = await texts(alone, ANNA, "what did I say about my dog?")
    assert recalled[0] == "my new car is a truck"
    assert "my dog is called Rex" in recalled


async def test_a_vector_within_a_clusters_staleness_is_not_waited_for(alone: Worker) -> None:
    alone.run()
    await told(alone, ANNA, *PREFERENCES)
    await age(alone)
    space = (await alone.embedder.embed(["."], query=False)).space
    async with alone.pool.connection() as connection:
        # Marked as written, as it is the moment after, but not yet shown by a search.
        await connection.execute(
            "INSERT INTO facts (id, user_key, text, turn, embedder) VALUES ('fnew', %s, 'brand new', 't1', %s)",
            (ANNA, space),
        )
    assert (await texts(alone, ANNA, "anything new?"))[0] == "brand new"
    await age(alone)
    assert "brand new" not in await texts(alone, ANNA, "anything new?")


async def test_two_deployments_on_one_milvus_do_not_meet(
    alone: Worker, worker: MakeWorker, database: str, milvus: servers.Milvus, triton: servers.Triton, names: Names
) -> None:
    alone.run()
    await told(alone, ANNA, *PREFERENCES)
    other = MilvusVectors(milvus.uri, Names(names.namespace, names.name + "b"))
    try:
        space = (await alone.embedder.embed(["."], query=False)).space
        assert not await other.exists(space)
        await other.prepare(space, 384)
        assert await other.count(space) == 0
        assert await alone.vectors.count(space) == len(PREFERENCES)
    finally:
        await other.close()


async def test_put_together_from_settings(
    alone: Worker, milvus: servers.Milvus, triton: servers.Triton, names: Names
) -> None:
    memory = await create_memory(
        settings.Memory(milvus_uri=milvus.uri, embedder_url=triton.grpc, recall_limit=2, recall_seconds=5),
        alone.pool,
        names,
    )
    try:
        for text in PREFERENCES[:2]:
            await memory.remember(ANNA, text, "t1")
        assert [fact.text for fact in await memory.recall(ANNA, "?")] == list(reversed(PREFERENCES[:2]))
    finally:
        await memory.close()
