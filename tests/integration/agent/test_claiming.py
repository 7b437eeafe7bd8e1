"""The intake's statement against a real PostgreSQL: everything once, in order, and by the holder alone."""

import asyncio
from dataclasses import replace

import pytest

from herald_agent.deciding.turns import Unreadable
from herald_agent.errors import LeaseLost, StoreRefused
from herald_agent.store import intake
from tests.integration.agent.desk import STREAM, Desk
from tests.unit.agent.values import new_turn


async def positions(desk: Desk) -> list[str]:
    return await desk.db.values("SELECT event_id FROM turns ORDER BY position")


async def test_a_batch_becomes_turns_in_stream_order(desk: Desk) -> None:
    claimed = await desk.claim(*(new_turn(n, chat=f"c{n % 3}") for n in range(1, 51)))
    assert claimed.opened == 50
    assert await positions(desk) == [f"e{n}" for n in range(1, 51)]
    assert await desk.db.values("SELECT open_turns FROM conversations ORDER BY open_turns") == [16, 17, 17]


async def test_an_event_that_is_known_opens_no_second_turn(desk: Desk) -> None:
    await desk.claim(new_turn(1, event="a"))
    claimed = await desk.claim(new_turn(2, event="a"), new_turn(3, event="b"), new_turn(4, event="b"))
    assert claimed.opened == 1
    assert await positions(desk) == ["a", "b"]
    assert await desk.db.value("SELECT open_turns FROM conversations") == 2


async def test_what_comes_later_is_counted_too(desk: Desk) -> None:
    await desk.claim(new_turn(1))
    await desk.claim(new_turn(2), new_turn(3), new_turn(4, chat="other"))
    assert await desk.db.values("SELECT open_turns FROM conversations ORDER BY open_turns") == [1, 3]
    assert await desk.db.values("SELECT head_position FROM conversations ORDER BY head_position") == [1, 4]


async def test_reading_the_same_entries_twice_changes_nothing(desk: Desk) -> None:
    lease = await desk.lead()
    await desk.claim(new_turn(1), new_turn(2))
    before = await desk.snapshot()
    with pytest.raises(LeaseLost):
        await intake.claim(desk.db, lease, upto=2, ttl=60, turns=[new_turn(1), new_turn(2)])
    assert await desk.snapshot() == before


async def test_a_reader_that_lost_the_lease_claims_nothing(desk: Desk) -> None:
    old = await desk.lead("w1")
    await desk.expire("w1")
    new = await desk.lead("w2")
    assert new.epoch > old.epoch
    before = await desk.snapshot()
    with pytest.raises(LeaseLost):
        await intake.claim(desk.db, old, upto=1, ttl=60, turns=[new_turn(1)])
    with pytest.raises(LeaseLost):
        await intake.rewind(desk.db, old, incarnation="x")
    await intake.release(desk.db, stream=STREAM, holder="w1")
    assert await desk.snapshot() == before


async def test_one_worker_leads_at_a_time(desk: Desk) -> None:
    taken = await asyncio.gather(
        *(intake.take(desk.db, stream=STREAM, holder=f"w{n}", ttl=60) for n in range(8)),
    )
    assert sum(1 for lease in taken if lease is not None) == 1


async def test_a_released_lease_is_free_at_once_and_its_cursor_stays(desk: Desk) -> None:
    await desk.lead("w1")
    await desk.claim(new_turn(7))
    await intake.release(desk.db, stream=STREAM, holder="w1")
    lease = await intake.take(desk.db, stream=STREAM, holder="w2", ttl=60)
    assert lease is not None
    assert lease.cursor == 7


async def test_gaps_in_the_stream_are_no_matter(desk: Desk) -> None:
    await desk.claim(new_turn(3), new_turn(90))
    await desk.claim(new_turn(1_000))
    assert await positions(desk) == ["e3", "e90", "e1000"]


async def test_what_cannot_be_read_is_a_dead_letter_of_the_same_statement(desk: Desk) -> None:
    bad = Unreadable(2, "not a message", b"\xff\x00")
    claimed = await desk.claim(new_turn(1), new_turn(3), unreadable=(bad,))
    assert (claimed.opened, claimed.refused) == (2, 1)
    assert await desk.db.value("SELECT payload FROM dead_letters") == b"\xff\x00"
    assert await desk.db.value("SELECT cursor FROM intake") == 3


async def test_a_stream_created_anew_is_read_from_its_start(desk: Desk) -> None:
    lease = await desk.lead()
    await desk.claim(new_turn(1), new_turn(2))
    await intake.rewind(desk.db, lease, incarnation="second")
    lease = await desk.lead()
    assert (lease.cursor, lease.incarnation) == (0, "second")
    claimed = await desk.claim(new_turn(1), new_turn(2, event="other"))
    assert claimed.opened == 1


async def test_a_refused_value_claims_nothing(desk: Desk) -> None:
    await desk.lead()
    before = await desk.snapshot()
    bad = new_turn(2, content="x")
    with pytest.raises(StoreRefused):
        await desk.claim(new_turn(1), replace(bad, payload="no json"))
    assert await desk.snapshot() == before


async def test_back_pressure_counts_no_further_than_asked(desk: Desk) -> None:
    await desk.claim(*(new_turn(n) for n in range(1, 31)))
    assert await intake.waiting(desk.db, most=10) == 10
    assert await intake.waiting(desk.db, most=100) == 30
