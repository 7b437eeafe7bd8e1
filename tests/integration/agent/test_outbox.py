"""Replies leave one at a time per conversation, in order, and what became of them is written once."""

import asyncio

import pytest

from herald_agent.store import finish, outbox
from herald_agent.store.outbox import Outcome
from tests.integration.agent.desk import Desk
from tests.unit.agent.values import NOW


def outcome(reply: str, what: str = "sent", *, reason: str = "", platform_id: str = "om_1") -> Outcome:
    return Outcome(reply, what, platform_id, reason, 2, NOW)  # type: ignore[arg-type]


async def answered(desk: Desk, number: int, **fields: object) -> str:
    await desk.accept(number, **fields)
    turn = await desk.take()
    await desk.answer(turn, f"answer {number}")
    return desk.reply_to(turn, "")[1].id


async def states(desk: Desk) -> list[str]:
    return await desk.db.values("SELECT state FROM outbox ORDER BY position, number")


async def due(desk: Desk, **options: object) -> list[str]:
    return [d.id for d in await outbox.due(desk.db, **options)]  # type: ignore[arg-type]


async def test_only_the_first_reply_of_a_conversation_is_due(desk: Desk) -> None:
    first, second = [await answered(desk, n) for n in (1, 2)]
    other = await answered(desk, 3, chat="other")
    assert await due(desk) == [first, other]
    assert await outbox.relayed(desk.db, [first, other]) == 2
    assert await due(desk) == []
    conversations = await outbox.record(desk.db, [outcome(first)])
    assert await due(desk, conversations=sorted(conversations)) == [second]


async def test_a_turn_is_quiet_while_an_earlier_reply_is_on_its_way(desk: Desk) -> None:
    """Its growing text would stand before that reply on the platform."""
    first = await answered(desk, 1)
    await desk.accept(2)
    turn = await desk.take()
    assert turn.quiet
    await finish.retry(desk.db, turn.lease, turn=turn.id, delay=0)
    await outbox.record(desk.db, [outcome(first)])
    assert not (await desk.take()).quiet


async def test_the_sweep_leaves_the_youngest_to_whoever_wrote_them(desk: Desk) -> None:
    first = await answered(desk, 1)
    assert await due(desk, age=60) == []
    await desk.db.values("UPDATE outbox SET created_at = now() - interval '2 min' RETURNING id")
    assert await due(desk, age=60) == [first]


async def test_marking_twice_and_marking_what_has_a_receipt_changes_nothing(desk: Desk) -> None:
    first = await answered(desk, 1)
    await outbox.record(desk.db, [outcome(first)])
    before = await desk.snapshot()
    assert await outbox.relayed(desk.db, [first]) == 0
    assert await desk.snapshot() == before


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        ("sent", "failed", "sent"),
        ("sent", "unknown", "sent"),
        ("unknown", "sent", "sent"),
        ("unknown", "failed", "unknown"),
        ("failed", "sent", "failed"),
        ("failed", "unknown", "failed"),
    ],
)
async def test_what_is_final_stays(desk: Desk, first: str, second: str, state: str) -> None:
    reply = await answered(desk, 1)
    await outbox.record(desk.db, [outcome(reply, first)])
    await outbox.record(desk.db, [outcome(reply, second)])
    assert await states(desk) == [state]


async def test_many_receipts_are_one_statement(desk: Desk) -> None:
    replies = [await answered(desk, n, chat=f"c{n}") for n in range(1, 21)]
    await outbox.record(desk.db, [outcome(reply) for reply in replies])
    assert await states(desk) == ["sent"] * 20
    assert await desk.db.value("SELECT delivered_at FROM outbox LIMIT 1") == NOW


async def test_a_failed_delivery_is_a_dead_letter_once(desk: Desk) -> None:
    reply = await answered(desk, 1)
    for _ in range(2):
        await outbox.record(desk.db, [outcome(reply, "failed", reason="chat is gone", platform_id="")])
    assert await desk.db.values("SELECT reason FROM dead_letters WHERE source = 'delivery'") == ["chat is gone"]
    assert await desk.db.value("SELECT state FROM ledger") == "dead"
    assert await desk.db.value("SELECT platform_message_id FROM outbox") is None


async def test_an_unknown_reply_is_recorded_as_nothing(desk: Desk) -> None:
    before = await desk.snapshot()
    assert await outbox.record(desk.db, [outcome("nobody's")]) == frozenset()
    assert await outbox.record(desk.db, []) == frozenset()
    assert await desk.snapshot() == before


async def test_batches_that_meet_do_not_lock_each_other_out(desk: Desk) -> None:
    replies = [await answered(desk, n, chat=f"c{n}") for n in range(1, 41)]
    for _ in range(10):
        await asyncio.gather(
            outbox.relayed(desk.db, replies),
            outbox.record(desk.db, [outcome(reply, "unknown") for reply in reversed(replies)]),
            outbox.relayed(desk.db, list(reversed(replies))),
        )
    assert await states(desk) == ["unknown"] * 40
