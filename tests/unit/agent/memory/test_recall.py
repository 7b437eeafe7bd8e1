"""Recall inside a turn: what it finds, and that it never costs more than its time."""

import asyncio
from typing import Literal

import pytest

from herald_agent.errors import StoreRefused, StoreUnavailable
from herald_agent.memory.embedding import EmbedderUnavailable
from herald_agent.memory.recall import Outcome, Recall
from herald_agent.memory.vectors import Row, VectorsUnavailable
from herald_contracts.identity import user_key
from tests.unit.agent.memory.fakes import Embedder, Facts, Known, Vectors

ANNA, BEN = user_key("web", "anna"), user_key("web", "ben")
LIMIT = 4


class World:
    """A recall over fakes, and what it counted."""

    def __init__(self, seconds: float = 30) -> None:
        self.facts, self.embedder, self.vectors = Facts(), Embedder(), Vectors([])
        self.outcomes: list[Outcome] = []
        self.recall = Recall(
            self.facts,
            self.embedder,
            self.vectors,
            seconds=seconds,
            limit=LIMIT,
            record=lambda outcome, seconds: self.outcomes.append(outcome),
        )

    async def embedded(self, user: str, *texts: str) -> list[Known]:
        """Facts with their vector."""
        known = self.facts.add(user, *texts, embedder=self.embedder.space)
        answer = await self.embedder.embed(texts, query=False)
        collection = self.vectors.collections.setdefault(answer.space, {})
        for one, vector in zip(known, answer.vectors, strict=True):
            collection[one.id] = Row(one.id, user, one.created_at, vector)
        self.embedder.calls.clear()
        return known


@pytest.fixture
def world() -> World:
    return World()


async def texts(world: World, user: str, message: str) -> list[str]:
    return [fact.text for fact in await world.recall.recall(user, message)]


async def test_few_facts_need_neither_embedder_nor_milvus(world: World) -> None:
    world.facts.add(ANNA, "a", "b", "c", "d")
    world.embedder.error, world.vectors.error = EmbedderUnavailable("away"), VectorsUnavailable("away")
    assert await texts(world, ANNA, "anything") == ["d", "c", "b", "a"]
    assert world.outcomes == ["hit"]


async def test_many_facts_are_ranked_by_likeness(world: World) -> None:
    await world.embedded(ANNA, "red apple", "blue car", "old house", "green tea", "small dog", "big ship")
    assert (await texts(world, ANNA, "green tea please"))[0] == "green tea"
    assert world.outcomes == ["hit"]


async def test_what_has_no_vector_yet_is_recalled_with_what_is_found(world: World) -> None:
    await world.embedded(ANNA, "red apple", "blue car", "old house", "green tea", "small dog", "big ship")
    world.facts.add(ANNA, "just told")
    recalled = await texts(world, ANNA, "green tea please")
    assert recalled[:2] == ["just told", "green tea"]


async def test_another_models_vectors_are_not_searched(world: World) -> None:
    await world.embedded(ANNA, "red apple", "blue car", "old house", "green tea", "small dog", "big ship")
    world.embedder.space = "m-2-64"
    world.vectors.collections["m-2-64"] = {}
    # All of them are fresh to the new space: the newest are better than nothing.
    assert await texts(world, ANNA, "green tea please") == ["big ship", "small dog", "green tea", "old house"]


async def test_a_wrong_answer_of_milvus_shows_nobodys_facts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = await world.embedded(BEN, "secret one", "secret two")
    await world.embedded(ANNA, "red apple", "blue car", "old house", "green tea", "small dog")

    async def unfiltered(*_: object) -> list[str]:
        return [one.id for one in theirs]

    monkeypatch.setattr(world.vectors, "search", unfiltered)
    assert await texts(world, ANNA, "secret") == []
    assert world.outcomes == ["empty"]


async def test_ids_of_facts_that_are_gone_take_nobodys_place(world: World) -> None:
    known = await world.embedded(ANNA, *(f"apple {n}" for n in range(8)))
    gone = {one.id for one in known[:LIMIT]}
    world.facts.rows = [one for one in world.facts.rows if one.id not in gone]
    world.facts.add(ANNA, "x", embedder=world.embedder.space)
    assert len(await texts(world, ANNA, "apple")) == LIMIT


async def test_a_message_without_text_gets_the_newest(world: World) -> None:
    await world.embedded(ANNA, "a", "b", "c", "d", "e")
    assert await texts(world, ANNA, " \n") == ["e", "d", "c", "b"]
    assert world.embedder.calls == []


async def test_a_long_message_is_not_embedded_as_a_whole(world: World) -> None:
    await world.embedded(ANNA, "a", "b", "c", "d", "e")
    await texts(world, ANNA, "long " * 40_000)
    assert len(world.embedder.calls[0][0]) < 2_010


@pytest.mark.parametrize("step", ["newest", "gather", "embed", "search"])
@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreRefused("a bug")])
async def test_a_failure_is_counted_and_not_raised(world: World, step: str, error: Exception) -> None:
    await world.embedded(ANNA, "a", "b", "c", "d", "e")
    if step == "embed":
        world.embedder.error = error
    elif step == "search":
        world.vectors.error = error
    else:
        world.facts.failing[step] = error
    assert await texts(world, ANNA, "a") == []
    assert world.outcomes == ["failed"]


async def test_a_lost_collection_is_a_failure_until_it_is_written_again(world: World) -> None:
    await world.embedded(ANNA, "a", "b", "c", "d", "e")
    world.vectors.collections.clear()
    assert await texts(world, ANNA, "a") == []
    assert world.outcomes == ["failed"]


async def test_over_its_time_it_is_skipped_and_its_work_ended() -> None:
    world = World(seconds=0.01)
    await world.embedded(ANNA, "a", "b", "c", "d", "e")
    world.embedder.hang = asyncio.Event()
    assert await texts(world, ANNA, "a") == []
    assert world.outcomes == ["skipped"]
    await world.recall.close()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "recall"] == []


async def test_what_will_not_end_cannot_pile_up() -> None:
    world = World(seconds=0.001)
    await world.embedded(ANNA, "a", "b", "c", "d", "e")
    freed = asyncio.Event()

    class Stubborn(asyncio.Event):
        async def wait(self) -> Literal[True]:
            # Like psycopg, which turns a cancel into a conversation with a server that does not answer.
            while not freed.is_set():
                try:
                    await freed.wait()
                except asyncio.CancelledError:
                    continue
            raise asyncio.CancelledError

    world.embedder.hang = Stubborn()
    try:
        for _ in range(50):
            assert await texts(world, ANNA, "a") == []
        assert world.outcomes == ["skipped"] * 50
        running = [task for task in asyncio.all_tasks() if task.get_name() == "recall"]
        assert 0 < len(running) < 30
    finally:
        freed.set()
    await world.recall.close()
    world.embedder.hang = None
    world.recall._seconds = 30
    assert await texts(world, ANNA, "a") != []


async def test_a_cancelled_turn_takes_its_recall_along(world: World) -> None:
    await world.embedded(ANNA, "a", "b", "c", "d", "e")
    world.embedder.hang = asyncio.Event()
    turn = asyncio.create_task(world.recall.recall(ANNA, "a"))
    while not world.embedder.calls:
        await asyncio.sleep(0)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    await world.recall.close()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "recall"] == []


async def test_only_a_user_key_is_looked_up(world: World) -> None:
    with pytest.raises(ValueError, match="not a user key"):
        await world.recall.recall('u" or "" == "', "a")
    assert world.outcomes == []
