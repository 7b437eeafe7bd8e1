"""Every write of a turn is fenced: the holder's write happens once, a zombie's changes nothing at all."""

from collections.abc import Awaitable, Callable

import pytest

from herald_agent.deciding import journal
from herald_agent.deciding.turns import Turn
from herald_agent.errors import LeaseLost
from herald_agent.store import finish, leases, steps
from tests.integration.agent.desk import Desk

Write = Callable[[Desk, Turn], Awaitable[object]]


def _step(turn: Turn, *, idempotent: bool = True) -> journal.Step:
    return journal.step(turn.id, 1, "model", ["input"], idempotent=idempotent)


async def _note(desk: Desk, turn: Turn) -> object:
    return await finish.note(
        desk.db, turn.lease, turn=turn.id, position=turn.position, target="p-e0", content="changed"
    )


WRITES: dict[str, Write] = {
    "begin a step": lambda desk, turn: steps.begin(desk.db, turn.lease, _step(turn), seconds=60),
    "answer": lambda desk, turn: desk.answer(turn, "zombie"),
    "bury": lambda desk, turn: desk.bury(turn),
    "note": _note,
    "retry": lambda desk, turn: finish.retry(desk.db, turn.lease, turn=turn.id, delay=1),
}


async def _taken_over(desk: Desk) -> Turn:
    await desk.accept(1)
    zombie = await desk.take("w1")
    await steps.begin(desk.db, zombie.lease, _step(zombie), seconds=60)
    await desk.expire("w1")
    await desk.take("w2", lease=0.2)
    return zombie


@pytest.mark.parametrize("name", WRITES)
async def test_a_zombies_write_changes_nothing(desk: Desk, name: str) -> None:
    zombie = await _taken_over(desk)
    before = await desk.snapshot()
    with pytest.raises(LeaseLost):
        await WRITES[name](desk, zombie)
    assert await desk.snapshot() == before


@pytest.mark.parametrize("name", WRITES)
async def test_nor_does_it_after_the_adopter_has_answered(desk: Desk, name: str) -> None:
    await desk.accept(1)
    zombie = await desk.take("w1")
    await desk.expire("w1")
    await desk.answer(await desk.take("w2", lease=0.2), "the adopter's")
    before = await desk.snapshot()
    with pytest.raises(LeaseLost):
        await WRITES[name](desk, zombie)
    assert await desk.snapshot() == before


async def test_a_zombie_neither_renews_nor_hands_over(desk: Desk) -> None:
    zombie = await _taken_over(desk)
    before = await desk.snapshot()
    assert await leases.renew(desk.db, [zombie.lease], seconds=60) == frozenset()
    assert await leases.release(desk.db, holder="w1") == 0
    assert await desk.snapshot() == before


async def test_the_same_epoch_of_another_holder_is_no_lease(desk: Desk) -> None:
    await desk.accept(1)
    turn = await desk.take("w1")
    stolen = type(turn.lease)(turn.lease.conversation, turn.lease.epoch, "w2")
    with pytest.raises(LeaseLost):
        await finish.retry(desk.db, stolen, turn=turn.id, delay=0)


async def test_an_answer_is_one_reply_two_messages_of_history_and_a_free_conversation(desk: Desk) -> None:
    await desk.accept(1)
    await desk.accept(2)
    ended = await desk.answer(await desk.take())
    assert (ended.first, ended.more) == (True, True)
    assert await desk.db.values("SELECT state FROM turns ORDER BY position") == ["done", "waiting"]
    assert await desk.db.values("SELECT state FROM outbox") == ["pending"]
    assert await desk.db.value("SELECT count(*) FROM history") == 2
    assert await desk.db.value("SELECT holder IS NULL AND open_turns = 1 FROM conversations")
    # The first reply is still on its way: the second must not overtake it.
    ended = await desk.answer(await desk.take())
    assert (ended.first, ended.more) == (False, False)


async def test_a_finish_whose_outcome_got_lost_may_be_tried_again_and_happens_once(desk: Desk) -> None:
    await desk.accept(1)
    turn = await desk.take()
    await desk.answer(turn)
    before = await desk.snapshot()
    with pytest.raises(LeaseLost):
        await desk.answer(turn)
    assert await desk.snapshot() == before


async def test_a_step_is_recorded_before_it_begins_and_ends_with_its_turn(desk: Desk) -> None:
    await desk.accept(1)
    turn = await desk.take()
    step = _step(turn)
    found = await steps.begin(desk.db, turn.lease, step, seconds=60)
    assert (found.state, found.output) == (None, None)
    again = await steps.begin(desk.db, turn.lease, step, seconds=60)
    assert (again.state, again.ours) == ("started", True)
    await desk.answer(turn, "said", step)
    assert await desk.db.values("SELECT state || ' ' || output::text FROM steps") == ['done {"text": "said"}']


async def test_a_step_of_other_input_is_another_step(desk: Desk) -> None:
    await desk.accept(1)
    turn = await desk.take()
    await steps.begin(desk.db, turn.lease, _step(turn), seconds=60)
    other = journal.step(turn.id, 1, "model", ["other input"], idempotent=True)
    assert (await steps.begin(desk.db, turn.lease, other, seconds=60)).state is None


async def test_an_adopter_sees_the_step_that_was_cut_off(desk: Desk) -> None:
    await desk.accept(1)
    turn = await desk.take("w1")
    step = _step(turn, idempotent=False)
    await steps.begin(desk.db, turn.lease, step, seconds=60)
    await desk.expire("w1")
    adopted = await desk.take("w2", lease=0.2)
    for _ in range(2):
        found = await steps.begin(desk.db, adopted.lease, step, seconds=60)
        assert (found.state, found.ours) == ("started", False)


async def test_a_write_of_a_step_renews_the_lease(desk: Desk) -> None:
    await desk.accept(1)
    turn = await desk.take(lease=60)
    remaining = "SELECT extract(epoch FROM lease_until - now()) FROM conversations"
    await steps.begin(desk.db, turn.lease, _step(turn), seconds=1_000)
    assert float(await desk.db.value(remaining)) > 900


async def test_a_dead_turn_leaves_a_letter_and_a_message_for_the_person(desk: Desk) -> None:
    await desk.accept(1)
    await desk.bury(await desk.take(), "the reason")
    assert await desk.db.values("SELECT reason FROM dead_letters WHERE source = 'turn'") == ["the reason"]
    assert await desk.db.value("SELECT payload ->> 'kind' FROM outbox") == "failure"
    assert await desk.db.value("SELECT count(*) FROM history") == 0


async def test_a_turn_without_a_reply_due_dies_silently(desk: Desk) -> None:
    await desk.accept(1, kind="edit", target="p-e0")
    turn = await desk.take()
    await finish.bury(desk.db, turn.lease, turn=turn.id, position=turn.position, reply=None, reason="r")
    assert await desk.db.value("SELECT count(*) FROM outbox") == 0
    assert await desk.db.value("SELECT count(*) FROM dead_letters") == 1


@pytest.mark.parametrize(
    ("target", "chat", "changes"),
    [("p-e1", "chat", True), ("p-e9", "chat", False), (None, "chat", False), ("p-e1", "elsewhere", False)],
)
async def test_an_edit_changes_the_message_it_means_and_no_other(
    desk: Desk, target: str | None, chat: str, changes: bool
) -> None:
    await desk.accept(1, content="before")
    await desk.answer(await desk.take())
    await desk.accept(2, kind="edit", content="after", target=target, chat=chat)
    turn = await desk.take()
    await finish.note(desk.db, turn.lease, turn=turn.id, position=turn.position, target=target, content="after")
    contents = await desk.db.values("SELECT content FROM history WHERE role = 'user'")
    assert contents == (["after"] if changes else ["before"])
    assert await desk.db.values("SELECT state FROM ledger ORDER BY in_seq") == ["replying", "noted"]


async def test_an_edit_reaches_a_thread_of_its_chat(desk: Desk) -> None:
    await desk.accept(1, content="before", thread="t")
    await desk.answer(await desk.take())
    await desk.accept(2, kind="recall", target="p-e1")
    turn = await desk.take()
    await finish.note(desk.db, turn.lease, turn=turn.id, position=turn.position, target="p-e1", content="gone")
    assert await desk.db.values("SELECT content FROM history WHERE role = 'user'") == ["gone"]
