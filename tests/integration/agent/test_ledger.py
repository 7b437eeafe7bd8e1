"""The ledger balances at every moment, and counts what nobody has read yet."""

import asyncio
from datetime import timedelta

import pytest

from herald_agent.deciding.turns import Unreadable
from herald_agent.store import finish, ledger, outbox
from herald_agent.store.ledger import StreamState
from herald_agent.store.outbox import Outcome
from herald_contracts.ledger import Counts
from tests.integration.agent.desk import STREAM, Desk
from tests.unit.agent.values import NOW, new_turn


@pytest.mark.parametrize(
    ("first", "last", "cursor", "unread"),
    [
        (1, 0, 0, 0),  # empty, never used
        (1, 10, 0, 10),
        (1, 10, 4, 6),
        (1, 10, 10, 0),
        (8, 10, 4, 3),  # the rest has aged out
        (11, 10, 4, 0),  # all has
        (1, 3, 10, 3),  # created anew
    ],
)
def test_what_lies_beyond_the_cursor(first: int, last: int, cursor: int, unread: int) -> None:
    assert StreamState("IN", first, last).unread(cursor) == unread


async def test_every_state_is_counted_once(desk: Desk) -> None:
    for n in range(1, 10):
        await desk.accept(n, chat=f"c{n}", user=f"u{n}", received_at=NOW + timedelta(seconds=n))
    await desk.claim(unreadable=(Unreadable(10, "no", b""),))
    turns = (await desk.acquire(room=8)).turns
    replies = []
    for turn in turns[:5]:
        await desk.answer(turn)
        replies.append(desk.reply_to(turn, "")[1].id)
    await desk.bury(turns[5])
    note = turns[6]
    await finish.note(desk.db, note.lease, turn=note.id, position=note.position, target=None, content="")
    await outbox.relayed(desk.db, [replies[1]])
    await outbox.record(
        desk.db,
        [
            Outcome(replies[2], "sent", "om", "", 1, NOW),
            Outcome(replies[3], "unknown", "", "timeout", 1, NOW),
            Outcome(replies[4], "failed", "", "gone", 1, NOW),
        ],
    )
    counts = await ledger.counts(desk.db, StreamState(STREAM, 1, 13))
    assert counts == Counts(accepted=13, waiting=1 + 3, running=1, replying=2, answered=1, noted=1, unknown=1, dead=3)
    assert counts.balanced
    rows = await ledger.messages(desk.db, limit=100)
    assert len(rows) == 10
    assert [row.event_id for row in await ledger.messages(desk.db, state="answered")] == ["e3"]
    assert [row.event_id for row in await ledger.messages(desk.db, since=NOW + timedelta(seconds=8), limit=2)] == [
        "stream-sequence-10",
        "e9",
    ]
    failed = {row.event_id: row.reason for row in await ledger.messages(desk.db, state="dead")}
    assert failed == {"e5": "gone", "e6": "because", "stream-sequence-10": "no"}


async def test_an_empty_ledger_balances(desk: Desk) -> None:
    assert await ledger.counts(desk.db) == Counts(accepted=0)
    assert (await ledger.counts(desk.db, StreamState(STREAM, 1, 5))).waiting == 5


async def test_it_balances_while_everything_moves(desk: Desk) -> None:
    seen: list[Counts] = []
    working = True

    async def watch() -> None:
        while working:
            seen.append(await ledger.counts(desk.db, StreamState(STREAM, 1, 60)))

    async def work() -> None:
        nonlocal working
        for begin in range(1, 61, 10):
            await desk.claim(*(new_turn(n, chat=f"c{n % 7}", user=f"u{n}") for n in range(begin, begin + 10)))
            for turn in (await desk.acquire()).turns:
                await desk.answer(turn)
                await outbox.record(desk.db, [Outcome(desk.reply_to(turn, "")[1].id, "sent", "", "", 1, NOW)])
        working = False

    await asyncio.gather(watch(), work())
    assert len(seen) > 5
    assert all(counts.balanced and counts.accepted == 60 for counts in seen)
