"""A dead letter is seen, explained and replayed exactly once; the replay's answer is a reply of its own."""

import asyncio

import pytest

from herald_agent.deciding.turns import Unreadable
from herald_agent.store import dead_letters, ledger, outbox
from herald_agent.store.dead_letters import NotReplayable
from herald_agent.store.outbox import Outcome
from herald_contracts.identity import reply_id
from herald_contracts.messages import Message, Reply
from tests.integration.agent.desk import Desk
from tests.unit.agent.values import NOW, message, new_turn


async def dead(desk: Desk) -> int:
    await desk.accept(1)
    await desk.bury(await desk.take(), "the model was not available")
    letters = await dead_letters.list_letters(desk.db)
    assert len(letters) == 1
    return letters[0].id


async def failed_delivery(desk: Desk) -> int:
    await desk.accept(1)
    turn = await desk.take()
    await desk.answer(turn, "the answer")
    reply = desk.reply_to(turn, "")[1].id
    await outbox.record(desk.db, [Outcome(reply, "failed", "", "gone", 1, NOW)])
    return (await dead_letters.list_letters(desk.db))[0].id


async def test_a_letter_says_what_why_and_whose(desk: Desk) -> None:
    letter = await dead_letters.show(desk.db, await dead(desk))
    assert letter is not None
    assert (letter.source, letter.reason) == ("turn", "the model was not available")
    assert (letter.event_id, letter.channel) == ("e1", "hmac")
    assert letter.payload is not None
    assert Message.from_wire(letter.payload).content == "hello"
    assert await dead_letters.show(desk.db, 999) is None


async def test_a_replayed_turn_is_answered_by_a_reply_of_its_own(desk: Desk) -> None:
    letter = await dead(desk)
    await dead_letters.replay(desk.db, letter)
    assert await desk.db.values("SELECT state FROM ledger") == ["waiting"]
    turn = await desk.take()
    assert (turn.attempts, turn.adoptions, turn.reply_number) == (1, 0, 1)
    await desk.answer(turn)
    assert await desk.db.values("SELECT id FROM outbox ORDER BY number") == [reply_id(turn.id), reply_id(turn.id, 1)]
    # The apology is recorded as sent; the newest reply is what counts.
    await outbox.record(desk.db, [Outcome(reply_id(turn.id), "sent", "om", "", 1, NOW)])
    assert await desk.db.values("SELECT state FROM ledger") == ["replying"]
    await outbox.record(desk.db, [Outcome(reply_id(turn.id, 1), "sent", "om", "", 1, NOW)])
    assert await desk.db.values("SELECT state FROM ledger") == ["answered"]
    assert await dead_letters.list_letters(desk.db) == []
    assert len(await dead_letters.list_letters(desk.db, replayed=True)) == 1


async def test_many_people_at_once_replay_once(desk: Desk) -> None:
    letter = await dead(desk)
    results = await asyncio.gather(*(dead_letters.replay(desk.db, letter) for _ in range(6)), return_exceptions=True)
    assert sum(1 for result in results if not isinstance(result, BaseException)) == 1
    assert all(isinstance(r, NotReplayable) for r in results if isinstance(r, BaseException))
    assert await desk.db.value("SELECT open_turns FROM conversations") == 1
    assert await desk.db.value("SELECT reply_number FROM turns") == 1


async def test_what_fails_again_is_a_new_letter(desk: Desk) -> None:
    letter = await dead(desk)
    await dead_letters.replay(desk.db, letter)
    await desk.bury(await desk.take(), "again")
    letters = await dead_letters.list_letters(desk.db)
    assert [(found.reason, found.id != letter) for found in letters] == [("again", True)]
    with pytest.raises(NotReplayable, match="was replayed at"):
        await dead_letters.replay(desk.db, letter)


async def test_a_replay_takes_its_old_place_among_what_waits(desk: Desk) -> None:
    letter = await dead(desk)
    await desk.accept(2)
    await desk.accept(3)
    running = await desk.take()
    await dead_letters.replay(desk.db, letter)
    await desk.answer(running)
    turn = await desk.take()
    assert desk.reply_to(turn, "")[0].event_id == "e1"
    await desk.answer(turn)
    await desk.answer(await desk.take())
    assert await desk.db.value("SELECT open_turns FROM conversations") == 0


async def test_a_replayed_delivery_is_the_same_text_under_a_new_id(desk: Desk) -> None:
    letter = await failed_delivery(desk)
    await dead_letters.replay(desk.db, letter)
    due = await outbox.due(desk.db)
    assert len(due) == 1
    reply = Reply.from_wire(due[0].payload.encode())
    assert reply.content == "the answer"
    assert reply.id == due[0].id == reply_id(reply.turn, 1)
    assert await desk.db.values("SELECT state FROM ledger") == ["replying"]
    with pytest.raises(NotReplayable):
        await dead_letters.replay(desk.db, letter)
    await outbox.record(desk.db, [Outcome(reply.id, "failed", "", "still gone", 1, NOW)])
    assert [found.reason for found in await dead_letters.list_letters(desk.db)] == ["still gone"]
    again = (await dead_letters.list_letters(desk.db))[0].id
    await dead_letters.replay(desk.db, again)
    assert [d.id for d in await outbox.due(desk.db)] == [reply_id(reply.turn, 2)]


async def test_many_people_at_once_send_a_delivery_again_once(desk: Desk) -> None:
    letter = await failed_delivery(desk)
    await asyncio.gather(*(dead_letters.replay(desk.db, letter) for _ in range(6)), return_exceptions=True)
    assert await desk.db.value("SELECT count(*) FROM outbox") == 2
    assert await desk.db.value("SELECT reply_number FROM turns") == 1


async def test_a_stream_entry_is_replayed_once_it_can_be_read(desk: Desk) -> None:
    written = message("late")
    await desk.claim(unreadable=(Unreadable(1, "schema 2.0 is not 1.x", written.to_wire()),))
    assert await desk.db.values("SELECT state FROM ledger") == ["dead"]
    letter = (await dead_letters.list_letters(desk.db))[0]
    assert (letter.source, letter.stream_seq, letter.payload) == ("intake", 1, written.to_wire())
    await dead_letters.replay(desk.db, letter.id)
    assert await desk.db.values("SELECT state FROM ledger") == ["waiting"]
    assert (await ledger.counts(desk.db)).balanced
    assert desk.reply_to(await desk.take(), "")[0].event_id == "late"


async def test_a_stream_entry_that_is_still_unreadable_stays_a_letter(desk: Desk) -> None:
    await desk.claim(unreadable=(Unreadable(1, "no", b"\x00\xff"),))
    letter = (await dead_letters.list_letters(desk.db))[0].id
    with pytest.raises(NotReplayable, match="still no message"):
        await dead_letters.replay(desk.db, letter)
    assert len(await dead_letters.list_letters(desk.db)) == 1


async def test_a_replayed_entry_whose_event_is_known_opens_no_second_turn(desk: Desk) -> None:
    await desk.claim(new_turn(2), unreadable=(Unreadable(1, "no", message("e2").to_wire()),))
    letter = (await dead_letters.list_letters(desk.db))[0].id
    await dead_letters.replay(desk.db, letter)
    assert await desk.db.value("SELECT open_turns FROM conversations") == 1


async def test_an_advisory_is_kept_once_and_cannot_be_replayed(desk: Desk) -> None:
    for expected in (True, False):
        kept = await dead_letters.record_advisory(desk.db, stream="OUT", stream_seq=7, reason="r", payload=b"{}")
        assert kept is expected
    letter = (await dead_letters.list_letters(desk.db))[0]
    assert (letter.source, letter.stream, letter.stream_seq) == ("advisory", "OUT", 7)
    with pytest.raises(NotReplayable, match="nothing to replay"):
        await dead_letters.replay(desk.db, letter.id)


async def test_a_letter_that_is_not_there(desk: Desk) -> None:
    with pytest.raises(NotReplayable, match="there is no dead letter 5"):
        await dead_letters.replay(desk.db, 5)


async def test_a_dead_turn_whose_apology_failed_too_has_two_letters(desk: Desk) -> None:
    letter = await dead(desk)
    reply = str(await desk.db.value("SELECT id FROM outbox"))
    await outbox.record(desk.db, [Outcome(reply, "failed", "", "gone", 1, NOW)])
    assert [found.source for found in await dead_letters.list_letters(desk.db)] == ["delivery", "turn"]
    assert (await ledger.counts(desk.db)).dead == 1
    await dead_letters.replay(desk.db, letter)
    overtaken = (await dead_letters.list_letters(desk.db))[0].id
    with pytest.raises(NotReplayable, match="overtaken"):
        await dead_letters.replay(desk.db, overtaken)
