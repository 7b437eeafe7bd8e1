"""Who gets which turn: order within a conversation, concurrency across, fairness and bounds between users."""

import asyncio
from collections import Counter

from herald_agent.store import finish, leases
from tests.integration.agent.desk import Desk
from tests.unit.agent.values import new_turn

# Seconds. For one lease time after its start the database lets no lease run out; the tests' server may be young.
YOUNG = 0.2


async def events(desk: Desk, holder: str = "w1", **options: object) -> list[str]:
    acquired = await desk.acquire(holder, **options)
    return [desk.reply_to(turn, "")[0].event_id for turn in acquired.turns]


async def test_nothing_to_do_is_nothing(desk: Desk) -> None:
    acquired = await desk.acquire()
    assert acquired.turns == ()


async def test_a_conversation_runs_one_turn_at_a_time_in_order(desk: Desk) -> None:
    for n in range(1, 4):
        await desk.accept(n)
    seen = []
    for _ in range(3):
        turn = await desk.take()
        assert (await desk.acquire("w2")).turns == ()
        seen.append(desk.reply_to(turn, "")[0].event_id)
        await desk.answer(turn)
    assert seen == ["e1", "e2", "e3"]
    assert (await desk.acquire()).turns == ()


async def test_conversations_run_beside_each_other_oldest_first(desk: Desk) -> None:
    for n in range(1, 7):
        await desk.accept(n, chat=f"c{n}", user=f"u{n}")
    assert await events(desk, room=4) == ["e1", "e2", "e3", "e4"]
    assert await events(desk, "w2", room=4) == ["e5", "e6"]


async def test_a_user_runs_no_more_than_allowed_over_all_workers(desk: Desk) -> None:
    for n in range(1, 51):
        await desk.accept(n, chat=f"c{n}")
    first = await desk.acquire("w1", room=3)
    assert len(first.turns) == 3
    assert len((await desk.acquire("w2", room=10)).turns) == 1
    assert (await desk.acquire("w3", room=10)).turns == ()
    await desk.answer(first.turns[0])
    assert await events(desk, "w3", room=10) == ["e5"]


async def test_many_workers_at_the_same_moment_keep_the_bound(desk: Desk) -> None:
    for n in range(1, 101):
        await desk.accept(n, chat=f"c{n}", user=f"u{n % 2}")
    for _ in range(5):
        results = await asyncio.gather(*(desk.acquire(f"w{n}", room=10) for n in range(10)))
        del results
    running = Counter(await desk.db.values("SELECT user_key FROM turns WHERE state = 'running'"))
    assert sorted(running.values()) == [4, 4]


async def test_two_workers_never_get_the_same_turn(desk: Desk) -> None:
    for n in range(1, 41):
        await desk.accept(n, chat=f"c{n}", user=f"u{n}")
    taken: list[str] = []

    async def work(holder: str) -> None:
        while len(taken) < 40:
            taken.extend(turn.id for turn in (await desk.acquire(holder, room=2)).turns)

    await asyncio.gather(*(work(f"w{n}") for n in range(4)))
    assert len(set(taken)) == len(taken) == 40


async def test_a_conversation_that_was_served_meanwhile_begins_with_its_next_turn(desk: Desk) -> None:
    """Workers that acquire and end turns as fast as they can: none begins a turn that another has just ended."""
    for begin in range(1, 601, 100):
        await desk.claim(*(new_turn(n, chat=f"c{n % 3}", user=f"u{n % 3}") for n in range(begin, begin + 100)))
    order: list[str] = []

    async def work(holder: str) -> None:
        while len(order) < 600:
            for turn in (await desk.acquire(holder)).turns:
                order.append(desk.reply_to(turn, "")[0].event_id)
                await desk.answer(turn)

    await asyncio.gather(*(work(f"w{n}") for n in range(6)))
    assert len(order) == 600
    for chat in range(3):
        assert [e for e in order if int(e[1:]) % 3 == chat] == [f"e{n}" for n in range(1, 601) if n % 3 == chat]
    assert await desk.db.value("SELECT max(attempts) FROM turns") == 1
    assert await desk.db.value("SELECT sum(open_turns) FROM conversations") == 0


async def test_who_runs_nothing_goes_before_who_runs_something(desk: Desk) -> None:
    for n in range(1, 101):
        await desk.accept(n, chat=f"ann-{n}", user="ann")
    await desk.accept(101, chat="bob", user="bob")
    assert await events(desk, room=2) == ["e1", "e2"]
    # Ann may run two more, and hers are older: Bob goes first all the same.
    assert await events(desk, room=1) == ["e101"]
    assert await events(desk, room=3) == ["e3", "e4"]


async def test_a_deep_backlog_of_one_user_does_not_hide_another(desk: Desk) -> None:
    for begin in range(1, 1_001, 100):
        await desk.claim(*(new_turn(n, chat=f"ann-{n}", user="ann") for n in range(begin, begin + 100)))
    await desk.accept(1_001, chat="bob", user="bob")
    assert await events(desk, room=1, per_user=1) == ["e1"]
    assert await events(desk, room=1, per_user=1) == ["e1001"]


async def test_in_a_group_chat_whoever_wrote_the_head_is_counted(desk: Desk) -> None:
    await desk.accept(1, chat="group", user="ann")
    await desk.accept(2, chat="group", user="bob")
    await desk.accept(3, chat="bobs", user="bob")
    await desk.accept(4, chat="anns", user="ann")
    first = await desk.acquire(per_user=1)
    assert [desk.reply_to(turn, "")[0].event_id for turn in first.turns] == ["e1", "e3"]
    await desk.answer(first.turns[0])
    # The group's head is Bob's now, and Bob runs one already; Ann runs none.
    assert await events(desk, per_user=1) == ["e4"]
    await desk.answer(first.turns[1])
    assert await events(desk, per_user=1) == ["e2"]


async def test_a_retry_waits_and_what_is_behind_it_waits_with_it(desk: Desk) -> None:
    await desk.accept(1)
    await desk.accept(2)
    turn = await desk.take()
    await finish.retry(desk.db, turn.lease, turn=turn.id, delay=3_600)
    assert (await desk.acquire()).turns == ()
    await desk.db.values("UPDATE conversations SET not_before = now() RETURNING id")
    again = await desk.take()
    assert (again.id, again.attempts, again.adoptions) == (turn.id, 2, 0)


async def test_a_turn_whose_worker_fell_silent_is_adopted(desk: Desk) -> None:
    await desk.accept(1)
    old = await desk.take("w1")
    assert (await desk.acquire("w2")).turns == ()
    await desk.expire("w1")
    new = await desk.take("w2", lease=YOUNG)
    assert new.id == old.id
    assert (new.attempts, new.adoptions) == (2, 1)
    assert new.lease.epoch > old.lease.epoch


async def test_a_worker_does_not_adopt_what_it_runs_itself(desk: Desk) -> None:
    await desk.accept(1)
    turn = await desk.take("w1")
    await desk.expire("w1")
    assert (await desk.acquire("w1", own=(turn.lease.conversation,), lease=YOUNG)).turns == ()
    assert len((await desk.acquire("w1", lease=YOUNG)).turns) == 1


async def test_after_a_restart_of_the_database_leases_hold_a_while(desk: Desk) -> None:
    await desk.accept(1)
    await desk.take("w1")
    await desk.expire("w1")
    # As if the server had started within the last lease time: its workers could not renew meanwhile.
    assert (await desk.acquire("w2", lease=1e7)).turns == ()


async def test_an_adopted_turn_gets_a_fresh_time_budget_and_keeps_its_first_start(desk: Desk) -> None:
    await desk.accept(1)
    await desk.take("w1")
    await desk.db.values(
        "UPDATE turns SET started_at = now() - interval '1 hour', budget_since = now() - interval '1 hour' RETURNING id"
    )
    await desk.expire("w1")
    adopted = await desk.take("w2", lease=YOUNG)
    assert adopted.age < 60
    assert await desk.db.value("SELECT now() - started_at > interval '59 min' FROM turns")


async def test_a_retry_keeps_its_time_budget(desk: Desk) -> None:
    await desk.accept(1)
    turn = await desk.take()
    await desk.db.values("UPDATE turns SET budget_since = now() - interval '1 minute' RETURNING id")
    await finish.retry(desk.db, turn.lease, turn=turn.id, delay=0)
    assert (await desk.take()).age >= 60


async def test_a_turn_comes_with_the_recent_past_oldest_first(desk: Desk) -> None:
    for n in range(1, 6):
        await desk.accept(n, content=f"question {n}")
        turn = await desk.take(history=4)
        if n < 5:
            await desk.answer(turn, f"answer {n}")
    assert [(said.role, said.content) for said in turn.history] == [
        ("user", "question 3"),
        ("agent", "answer 3"),
        ("user", "question 4"),
        ("agent", "answer 4"),
    ]
    assert turn.history[0].sender == "Ann"


async def test_history_is_cut_and_may_be_none(desk: Desk) -> None:
    await desk.accept(1, content="x" * 500)
    await desk.answer(await desk.take())
    await desk.accept(2)
    turn = await desk.take(characters=10)
    assert turn.history[0].content == "x" * 10
    await finish.retry(desk.db, turn.lease, turn=turn.id, delay=0)
    assert (await desk.take(history=0)).history == ()


async def test_handing_over_frees_all_at_once_and_is_no_adoption(desk: Desk) -> None:
    for n in range(1, 4):
        await desk.accept(n, chat=f"c{n}", user=f"u{n}")
    await desk.acquire("w1")
    assert await leases.release(desk.db, holder="w1") == 3
    acquired = await desk.acquire("w2")
    assert {(turn.attempts, turn.adoptions) for turn in acquired.turns} == {(2, 0)}
    assert await leases.release(desk.db, holder="w1") == 0


async def test_renewing_tells_what_is_still_held(desk: Desk) -> None:
    for n in range(1, 4):
        await desk.accept(n, chat=f"c{n}", user=f"u{n}")
    mine = [turn.lease for turn in (await desk.acquire("w1", room=2)).turns]
    other = (await desk.take("w2")).lease
    assert await leases.renew(desk.db, mine, seconds=60) == {lease.conversation for lease in mine}
    await desk.expire("w1")
    # It ran out and nobody took it: it is still ours.
    assert await leases.renew(desk.db, mine, seconds=60) == {lease.conversation for lease in mine}
    await desk.expire("w1")
    await desk.acquire("w3", room=1, lease=YOUNG)
    kept = await leases.renew(desk.db, mine, seconds=60)
    assert kept == {mine[1].conversation}
    assert other.conversation not in kept
    assert await leases.renew(desk.db, [], seconds=60) == frozenset()


async def test_a_message_that_comes_while_its_conversation_ends_is_not_forgotten(desk: Desk) -> None:
    """Finishing looks for the next head in its snapshot; a claim that commits meanwhile must be found all the same."""
    for n in range(1, 60, 2):
        await desk.accept(n)
        turn = await desk.take()
        await asyncio.gather(desk.answer(turn), desk.accept(n + 1, user="bob"))
        following = await desk.take()
        assert desk.reply_to(following, "")[0].event_id == f"e{n + 1}"
        await desk.answer(following)
    assert await desk.db.value("SELECT open_turns FROM conversations") == 0


async def test_ten_thousand_messages_in_one_conversation_wait_in_order_and_hinder_nobody(desk: Desk) -> None:
    for begin in range(1, 10_001, 500):
        await desk.claim(*(new_turn(n, chat="deep") for n in range(begin, begin + 500)))
    await desk.accept(10_001, chat="other", user="bob")
    for n in range(1, 6):
        acquired = await desk.acquire()
        seen = [desk.reply_to(turn, "")[0].event_id for turn in acquired.turns]
        assert seen == ([f"e{n}", "e10001"] if n == 1 else [f"e{n}"])
        await desk.answer(acquired.turns[0])
    assert await desk.db.value("SELECT open_turns FROM conversations ORDER BY open_turns DESC LIMIT 1") == 9_995


async def test_it_says_whether_other_work_has_to_wait(desk: Desk) -> None:
    assert not (await desk.acquire()).more
    for n in range(1, 4):
        await desk.accept(n, chat=f"c{n}")
    assert (await desk.acquire(room=1)).more
    assert (await desk.acquire(per_user=2)).more
    assert not (await desk.acquire()).more
