"""The writer of vectors: the order of its steps, and that dying between any two of them loses nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from herald_agent.errors import StoreUnavailable
from herald_agent.memory import writer as module
from herald_agent.memory.embedding import EmbedderUnavailable
from herald_agent.memory.vectors import Row, VectorsUnavailable
from herald_agent.memory.writer import Writer
from herald_contracts.identity import user_key
from tests.unit.agent.memory.fakes import Embedder, Facts, Vectors

ANNA = user_key("web", "anna")
SPACE = "m-1-64"


class World:
    def __init__(self) -> None:
        self.trace: list[str] = []
        self.facts, self.vectors, self.embedder = Facts(self.trace), Vectors(self.trace), Embedder(SPACE)
        self.writer = Writer(self.facts, self.embedder, self.vectors, turn=0.001)

    @property
    def stored(self) -> set[str]:
        return set(self.vectors.collections.get(self.embedder.space, {}))

    @property
    def complete(self) -> bool:
        return self.stored == {one.id for one in self.facts.rows} and all(
            one.embedder == self.embedder.space for one in self.facts.rows
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, "_LOOK", 0.001)
    return World()


@contextlib.asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    task = asyncio.create_task(world.writer.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_facts_get_their_vectors(world: World) -> None:
    world.facts.add(ANNA, *(f"fact {n}" for n in range(100)))
    async with running(world):
        await until(lambda: world.complete)
    assert world.trace.index("prepare") < world.trace.index("write") < world.trace.index("written")


async def test_without_a_fact_nothing_is_touched(world: World) -> None:
    looks = 0
    original = world.facts.any

    async def counted() -> bool:
        nonlocal looks
        looks += 1
        return await original()

    world.facts.any = counted  # type: ignore[method-assign]
    async with running(world):
        await until(lambda: looks > 5)
    assert (world.vectors.connected, world.embedder.calls, world.trace) == (0, [], [])


async def test_a_new_fact_is_written_while_it_runs(world: World) -> None:
    world.facts.add(ANNA, "one")
    async with running(world):
        await until(lambda: world.complete)
        world.facts.add(ANNA, "two")
        world.writer.ring()
        await until(lambda: world.complete)


async def test_while_another_worker_writes_this_one_only_connects(world: World) -> None:
    world.facts.taken = True
    world.facts.add(ANNA, "one")
    async with running(world):
        await until(lambda: world.vectors.connected > 3)
        assert world.trace == []
        world.facts.taken = False
        await until(lambda: world.complete)


@pytest.mark.parametrize("step", ["any", "unwritten", "written"])
async def test_an_outage_of_postgres_is_waited_out(world: World, step: str) -> None:
    world.facts.add(ANNA, "one", "two")
    world.facts.failing[step] = StoreUnavailable("away")
    async with running(world):
        await until(lambda: world.facts.failures > 2)
        assert not world.complete
        world.facts.failing.clear()
        await until(lambda: world.complete)


async def test_an_outage_of_milvus_is_waited_out(world: World) -> None:
    world.facts.add(ANNA, "one", "two")
    world.vectors.error = VectorsUnavailable("away")
    async with running(world):
        await until(lambda: world.vectors.connected > 2)
        assert world.trace == []
        world.vectors.error = None
        await until(lambda: world.complete)


async def test_an_outage_of_the_embedder_is_waited_out(world: World) -> None:
    world.facts.add(ANNA, "one", "two")
    world.embedder.error = EmbedderUnavailable("away")
    async with running(world):
        await until(lambda: len(world.embedder.calls) > 2)
        world.embedder.error = None
        await until(lambda: world.complete)


async def test_a_crash_after_the_vector_and_before_the_mark_costs_a_repetition(world: World) -> None:
    world.facts.add(ANNA, "one", "two")
    world.facts.failing["written"] = StoreUnavailable("killed here")
    async with running(world):
        await until(lambda: len(world.stored) == 2)
    assert [one.embedder for one in world.facts.rows] == [None, None]
    world.facts.failing.clear()
    async with running(world):
        await until(lambda: world.complete)


async def test_a_lost_collection_is_written_again(world: World) -> None:
    world.facts.add(ANNA, *(f"fact {n}" for n in range(40)))
    async with running(world):
        await until(lambda: world.complete)
        world.vectors.collections.clear()
        await until(lambda: world.complete)


async def test_facts_are_marked_unwritten_before_the_new_collection_exists(world: World) -> None:
    world.facts.add(ANNA, "one", "two", embedder=SPACE)
    async with running(world):
        await until(lambda: world.complete)
    assert world.trace[:2] == ["lose", "prepare"]


async def test_single_lost_vectors_are_found_by_counting(world: World) -> None:
    known = world.facts.add(ANNA, "one", "two", embedder=SPACE)
    world.vectors.collections[SPACE] = {known[0].id: Row(known[0].id, ANNA, known[0].created_at, [0.0] * 64)}
    async with running(world):
        await until(lambda: world.complete)


async def test_nothing_is_written_again_without_need(world: World) -> None:
    world.facts.add(ANNA, "one", "two")
    async with running(world):
        await until(lambda: world.complete)
    world.trace.clear()
    async with running(world):
        await until(lambda: "prepare" in world.trace)
    assert set(world.trace) == {"prepare"}


async def test_another_embedder_gets_a_collection_of_its_own(world: World) -> None:
    world.facts.add(ANNA, "one", "two")
    async with running(world):
        await until(lambda: world.complete)
        before = dict(world.vectors.collections[SPACE])
        world.embedder.space = "m-2-64"
        world.facts.add(ANNA, "three")
        await until(lambda: world.complete)
    assert world.vectors.collections[SPACE] == before
    assert len(world.vectors.collections["m-2-64"]) == 3


async def test_a_text_that_cannot_be_embedded_holds_up_nobody(world: World) -> None:
    world.facts.add(ANNA, *(f"fact {n}" for n in range(10)), "poison", *(f"more {n}" for n in range(40)))
    world.embedder.refuses = {"poison"}
    async with running(world):
        await until(lambda: len(world.stored) == 50)
        poison = next(one for one in world.facts.rows if one.text == "poison")
        assert poison.embedder is None
        world.embedder.refuses = set()
    async with running(world):
        await until(lambda: world.complete)
