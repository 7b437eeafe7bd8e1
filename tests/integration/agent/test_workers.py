"""Several workers: order, hand-over, zombies, poison."""

import asyncio
import signal
import socket
from dataclasses import replace
from datetime import datetime

from herald_agent.store import dead_letters, ledger
from herald_agent.store.pool import Database
from tests.debian import clock_off_by
from tests.integration.agent.conftest import Hire
from tests.integration.agent.desk import Desk
from tests.integration.agent.outside import Outside
from tests.unit.agent.values import new_turn
from tests.waiting import eventually


async def settled(db: Database, **expected: int) -> None:
    async def look() -> bool:
        counts = await ledger.counts(db)
        return counts.balanced and all(getattr(counts, state) == number for state, number in expected.items())

    await eventually(look, within=40, what=f"the ledger to show {expected}")


async def running(db: Database) -> int:
    return int(await db.value("SELECT count(*) FROM turns WHERE state = 'running'"))


async def test_two_workers_keep_the_order_of_thirty_conversations(hire: Hire, outside: Outside, db: Database) -> None:
    await asyncio.gather(*(hire(name).start().started() for name in ("w1", "w2")))
    for n in range(10):
        await asyncio.gather(
            *(
                outside.send(f"c{c}-{n}", chat=f"c{c}", user=f"u{c}", content=f"[[delay=0.002]] turn {n} of {c}")
                for c in range(30)
            )
        )
    await outside.all_answered(within=60)
    await settled(db, answered=300)
    outside.judge()
    holders = await db.value("SELECT count(DISTINCT epoch) FROM turns")
    assert holders > 1
    assert await db.value("SELECT max(attempts) FROM turns") == 1


async def test_clocks_that_are_ten_minutes_off_change_nothing(hire: Hire, outside: Outside, db: Database) -> None:
    """Leases, retries and order go by the database's clock alone: also when a worker dies and another takes over."""
    ahead, behind = hire("ahead"), hire("behind")
    ahead.environment, behind.environment = clock_off_by(600), clock_off_by(-600)
    await asyncio.gather(ahead.start().started(), behind.start().started())
    logged = [datetime.fromisoformat(worker.lines()[0]["timestamp"]) for worker in (ahead, behind)]
    assert 1_100 < (logged[0] - logged[1]).total_seconds() < 1_300

    async def send(first: int, last: int) -> None:
        for n in range(first, last):
            for c in range(6):
                await outside.send(f"c{c}-{n}", chat=f"c{c}", user=f"u{c}", content=f"[[delay=0.05]] turn {n} of {c}")

    for number, victim in enumerate((ahead, behind)):
        await send(3 * number, 3 * number + 3)
        await eventually(lambda: running(db), within=20, what="a turn to be running")
        victim.kill()
        victim.start()
    await outside.all_answered(within=60)
    await settled(db, answered=36)
    outside.judge()


async def test_a_zombie_changes_nothing(hire: Hire, outside: Outside, db: Database) -> None:
    """Stopped in the middle of its turns and of its reading, it wakes up when all is done, and nobody notices."""
    zombie = await hire("zombie").start().started()
    for n in range(4):
        await outside.send(f"e{n}", chat=f"c{n}", user=f"u{n}", content=f"[[delay=0.3]] a b c d {n}")

    async def busy() -> bool:
        return await running(db) == 4

    await eventually(busy, what="the zombie to run four turns")
    zombie.signal(signal.SIGSTOP)
    await hire("heir").start().started()
    for n in range(4):
        await outside.send(f"f{n}", chat=f"c{n}", user=f"u{n}", content=f"later {n}")
    await outside.all_answered(within=60)
    await outside.receipts_read()
    await settled(db, answered=8)
    before = await _tables(db)
    zombie.signal(signal.SIGCONT)
    # It comes round to every one of its loops: it notices the lost leases, and asks for new work.
    await eventually(
        lambda: (
            sum(line.get("event") == "another worker has taken over" for line in zombie.lines()) > 0
            or not zombie.said("x")
        ),
        what="the zombie to notice",
    )
    await outside.send("g", chat="c0", user="u0", content="at last")
    await outside.all_answered()
    await settled(db, answered=9)
    after = await _tables(db)
    assert {key: value for key, value in after.items() if key in before} == before
    outside.judge()
    assert zombie.code is None


async def test_a_stopped_reader_loses_the_stream_and_reads_nothing_twice(
    hire: Hire, outside: Outside, db: Database
) -> None:
    leader = await hire("w1").start().started()

    async def leads() -> bool:
        return bool(await db.value("SELECT holder FROM intake WHERE lease_until > now()"))

    await eventually(leads, what="w1 to read")
    first = await db.value("SELECT holder FROM intake")
    leader.signal(signal.SIGSTOP)
    await hire("w2").start().started()
    for n in range(10):
        await outside.send(f"e{n}", chat=f"c{n % 3}")
    await outside.all_answered()
    assert await db.value("SELECT holder FROM intake") != first
    leader.signal(signal.SIGCONT)
    for n in range(10, 20):
        await outside.send(f"e{n}", chat=f"c{n % 3}")
    await outside.all_answered()
    await settled(db, answered=20, accepted=20)
    outside.judge()


async def test_sigterm_finishes_what_runs_and_leaves_with_zero(hire: Hire, outside: Outside, db: Database) -> None:
    worker = await hire("w1").start().started()
    for n in range(4):
        await outside.send(f"e{n}", chat=f"c{n}", user=f"u{n}", content=f"[[delay=0.1]] a b c d e {n}")

    async def busy() -> bool:
        return await running(db) == 4

    await eventually(busy, what="four running turns")
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    await outside.all_answered(within=1)
    assert await db.value("SELECT max(attempts) FROM turns") == 1
    assert await db.value("SELECT count(*) FROM conversations WHERE holder IS NOT NULL") == 0
    assert await db.value("SELECT holder IS NULL FROM intake")


async def test_sigterm_hands_over_what_takes_too_long(hire: Hire, outside: Outside, db: Database) -> None:
    # Leases that outlast the test: only a hand-over can free the turn in time.
    slow = await hire("w1", lease_seconds=300, drain_seconds=0.2).start().started()
    await outside.send("e1", content="[[first=3]] slow")

    async def busy() -> bool:
        return await running(db) == 1

    await eventually(busy, what="a running turn")
    heir = await hire("w2", lease_seconds=300).start().started()
    slow.signal(signal.SIGTERM)
    assert await slow.ended() == 0
    await outside.all_answered()
    assert await db.value("SELECT attempts FROM turns") == 2
    assert await db.value("SELECT adoptions FROM turns") == 0
    await outside.send("e2", content="and on")
    await outside.all_answered()
    outside.judge()
    assert heir.code is None


async def test_a_turn_that_brings_down_its_workers_is_given_up(hire: Hire, outside: Outside, db: Database) -> None:
    await outside.send("poison", content="poison")
    await outside.send("next", content="next")
    for n in range(6):
        worker = hire(f"w{n}", lease_seconds=1).start(at="before model.generate")
        assert await worker.ended() == -signal.SIGKILL
    await hire("last", lease_seconds=1).start().started()
    await outside.all_answered()
    kinds = {reply.event_id: reply.kind for reply in outside.replies}
    assert kinds == {"poison": "failure", "next": "answer"}
    await settled(db, dead=1, answered=1)
    letter = (await dead_letters.list_letters(db))[0]
    assert letter.reason == "5 workers in a row fell silent while they were on it"
    outside.judge()


async def test_a_deep_backlog_stays_in_the_stream_and_is_worked_off(hire: Hire, outside: Outside, db: Database) -> None:
    """Ten conversations with sixty messages each, sent before any worker is there, through a narrow intake."""
    for n in range(60):
        await asyncio.gather(
            *(outside.send(f"c{c}-{n}", chat=f"c{c}", user=f"u{c}", content=f"{n}") for c in range(10))
        )
    counts = await ledger.counts(db)
    assert counts.accepted == 0
    await asyncio.gather(*(hire(name).start().started() for name in ("w1", "w2")))
    await outside.all_answered(within=60)
    await settled(db, answered=600)
    outside.judge()


async def _tables(db: Database) -> dict[str, str]:
    """Rows of finished work by table and key."""
    found: dict[str, str] = {}
    for table in ("turns", "outbox", "history", "steps"):
        for row in await db.values(f"SELECT row_to_json(t)::text FROM {table} t"):
            found[f"{table} {hash(row)}"] = row
    return found


async def test_a_port_that_is_taken_is_named(hire: Hire, outside: Outside) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        worker = hire("w1", health_port=port).start()
        assert await worker.ended() == 78
    assert f"health_port: cannot listen on 127.0.0.1:{port}" in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()


async def test_a_turn_of_a_version_that_cannot_be_read_is_a_dead_letter(
    hire: Hire, outside: Outside, desk: Desk
) -> None:
    await desk.claim(replace(new_turn(1), payload='{"schema": "2.0"}'), new_turn(2))
    await hire().start().started()
    await settled(desk.db, dead=1, accepted=2)
    letter = (await dead_letters.list_letters(desk.db))[0]
    assert letter.reason.startswith("Message: ")
    await outside.all_answered_in("e2")
    assert [reply.event_id for reply in outside.replies] == ["e2"]
