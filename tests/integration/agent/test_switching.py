"""Two colours of workers and a switch between them: nothing lost, nothing twice, in order, and by whom it should be."""

import asyncio
import functools
import json
import signal
from collections import Counter
from typing import Any

from nats.errors import Error as NatsError

from herald_agent.store.pool import Database
from herald_contracts.errors import HeraldError
from herald_contracts.rollout import Rollout
from herald_contracts.streams import topology
from herald_operator import messaging
from herald_runtime import rollout
from tests.integration.agent.conftest import Estate, Hire
from tests.integration.agent.outside import Outside, Worker
from tests.integration.agent.test_workers import settled
from tests.waiting import eventually


async def state(worker: Worker) -> dict[str, Any]:
    """What it says about itself, ready or not."""
    found: dict[str, Any] = json.loads((await worker.get("/healthz/ready"))[1])
    return found


async def says(worker: Worker, **expected: Any) -> None:
    async def look() -> bool:
        said = await state(worker)
        return all(said[key] == value for key, value in expected.items())

    await eventually(look, what=f"{expected}")


async def by(db: Database) -> Counter[str]:
    """Answered turns per revision."""
    return Counter(await db.values("SELECT revision FROM turns WHERE state = 'done'"))


async def test_a_switch_and_a_switch_back_in_a_stream_of_messages(hire: Hire, outside: Outside, db: Database) -> None:
    """Ten conversations; the record is switched between and during the batches."""
    old = [hire(f"old{n}") for n in range(2)]
    new = [hire(f"new{n}", revision="r2") for n in range(2)]
    await asyncio.gather(*(worker.start().started() for worker in (*old, *new)))

    async def send(batch: str, count: int = 6) -> None:
        for n in range(count):
            await asyncio.gather(
                *(
                    outside.send(f"{batch}-{c}-{n}", chat=f"c{c}", user=f"u{c}", content=f"[[delay=0.01]] a b {n}")
                    for c in range(10)
                )
            )

    async def answered_by(batch: str) -> set[str]:
        found = await db.values("SELECT revision FROM turns WHERE event_id LIKE %(of)s", {"of": f"{batch}-%"})
        assert len(found) == 60
        return set(found)

    await send("first")
    await outside.all_answered()
    assert await answered_by("first") == {"r1"}

    sending = asyncio.create_task(send("across"))
    await outside.all_answered_in("across-0-0")
    await rollout.activate(outside.client, outside.names, "r2")
    await sending
    await asyncio.gather(*(says(worker, taking=False, turns=0, active="r2") for worker in old))
    await asyncio.gather(*(says(worker, taking=True, active="r2") for worker in new))
    await send("second")
    await outside.all_answered(within=60)
    assert await answered_by("second") == {"r2"}

    sending = asyncio.create_task(send("back"))
    await outside.all_answered_in("back-0-0")
    await rollout.activate(outside.client, outside.names, "r1")
    await sending
    await asyncio.gather(*(says(worker, taking=False, turns=0) for worker in new))
    await send("third")
    await outside.all_answered(within=60)
    assert await answered_by("third") == {"r1"}

    await settled(db, answered=300, accepted=300)
    outside.judge()
    # Nobody was cut off: each turn was begun once, and no lease had to run out.
    assert await db.value("SELECT max(attempts) FROM turns") == 1
    assert await db.value("SELECT max(adoptions) FROM turns") == 0


async def test_the_other_colour_reads_the_stream_at_once(hire: Hire, outside: Outside, db: Database) -> None:
    # Leases that outlast the test: only a release lets the other one read, and only a ring tells it so.
    old = await hire("old", lease_seconds=300).start().started()
    new = await hire("new", revision="r2", lease_seconds=300).start().started()

    async def reads(worker: Worker) -> bool:
        return bool(await db.value(f"SELECT count(*) FROM intake WHERE holder LIKE '%%-{worker.pid}-%%'"))

    await eventually(lambda: reads(old), what="the old colour to read")
    for n in range(6):
        to, worker = (("r2", new), ("r1", old))[n % 2]
        await rollout.activate(outside.client, outside.names, to)
        # No message helps them: the one that waits for messages must let go of the stream by itself.
        await eventually(functools.partial(reads, worker), what=f"{to} to read")
        await outside.send(f"e{n}")
        await outside.all_answered()
        assert await db.value("SELECT revision FROM turns ORDER BY position DESC LIMIT 1") == to
    outside.judge()
    assert old.code is None
    assert new.code is None


async def test_turns_that_run_at_a_switch_are_finished_where_they_began(
    hire: Hire, outside: Outside, db: Database
) -> None:
    old = await hire("old").start().started()
    new = await hire("new", revision="r2").start().started()
    for n in range(3):
        await outside.send(f"slow{n}", chat=f"c{n}", user=f"u{n}", content="[[first=2]] slow")
        await outside.send(f"next{n}", chat=f"c{n}", user=f"u{n}", content="next")
    await says(old, turns=3)
    await rollout.activate(outside.client, outside.names, "r2")
    await says(old, taking=False, turns=3, ready=True, waiting={"gate": "NotActive"})
    await outside.send("meanwhile", chat="other", user="other")
    await outside.all_answered_in("meanwhile")
    assert (await state(old))["turns"] == 3
    await outside.all_answered()
    await says(old, turns=0)
    assert await by(db) == {"r1": 3, "r2": 4}
    assert await db.value("SELECT count(*) FROM turns WHERE event_id LIKE 'slow%%' AND revision = 'r1'") == 3
    assert await db.value("SELECT max(attempts) FROM turns") == 1
    outside.judge()
    # It leaves as one that has nothing to hand over.
    old.signal(signal.SIGTERM)
    assert await old.ended() == 0
    assert new.code is None


async def test_a_worker_of_another_revision_answers_nothing(hire: Hire, outside: Outside, db: Database) -> None:
    other = await hire("other", revision="r2").start().started()
    await says(other, ready=True, revision="r2", active="r1", taking=False, waiting={"gate": "NotActive"})
    for n in range(5):
        await outside.send(f"e{n}", chat=f"c{n}")
    # What it would do within a moment if it could: it has looked again since the messages came.
    later = Rollout(active="r0", generation=9)
    await rollout.switch(outside.client, outside.names, (await rollout.read(outside.client, outside.names))[1], later)
    await says(other, active="r0")
    assert await db.value("SELECT count(*) FROM turns") == 0
    assert await db.value("SELECT count(*) FROM intake WHERE holder IS NOT NULL") == 0
    assert not other.said("reading the stream")
    await hire("right", revision="r0").start().started()
    await outside.all_answered()
    assert await by(db) == {"r0": 5}
    outside.judge()


async def test_without_a_record_nobody_works_until_there_is_one(hire: Hire, outside: Outside, db: Database) -> None:
    await outside.client.jsm().delete_stream(f"KV_{outside.names.rollout_bucket}")
    worker = await hire().start().started()
    await says(worker, ready=True, active="", taking=False, waiting={"gate": "NoRolloutRecord"})
    await outside.send("e1")
    await messaging.ensure(outside.client, topology(outside.names, web_channels=("web",), storage=256 * 2**20))
    assert await db.value("SELECT count(*) FROM turns") == 0
    await rollout.activate(outside.client, outside.names, "r1")
    await outside.all_answered()
    await says(worker, active="r1", taking=True, waiting={})


async def test_a_turn_whose_worker_is_killed_after_the_switch_is_completed_once(
    hire: Hire, outside: Outside, db: Database
) -> None:
    """The old colour holds a turn, the switch happens, and then it dies without a word."""
    old = await hire("old").start().started()
    await hire("new", revision="r2").start().started()
    await outside.send("slow", content="[[first=2]] slow", chat="c1", user="u1")
    await says(old, turns=1)
    await rollout.activate(outside.client, outside.names, "r2")
    await says(old, taking=False, turns=1)
    old.signal(signal.SIGKILL)
    await outside.send("next", chat="c1", user="u1")
    await outside.all_answered()
    assert await by(db) == {"r2": 2}
    assert await db.values("SELECT adoptions FROM turns ORDER BY position") == [1, 0]
    await settled(db, answered=2, accepted=2)
    outside.judge()


async def test_nats_is_killed_between_a_switch_and_its_message(estate: Estate, hire: Hire) -> None:
    old = await hire("old", estate.settings).start().started()
    new = await hire("new", estate.settings, revision="r2").start().started()
    await says(old, taking=True)
    estate.nats.kill()
    await says(old, nats=False)
    # What was known last counts: the turn table still is worked on.
    assert (await state(old))["active"] == "r1"
    await estate.nats.restart()

    async def switched() -> bool:
        try:
            return bool(await rollout.activate(estate.outside.client, estate.names, "r2"))
        except (HeraldError, NatsError):
            return False

    await eventually(switched, what="the switch")
    await says(new, taking=True, nats=True)
    await says(old, taking=False)
    await estate.outside.send("e1")
    await estate.outside.all_answered()
    assert await by(estate.db) == {"r2": 1}
    assert [worker.code for worker in (old, new)] == [None, None]
    assert not any("Traceback" in str(line) for worker in (old, new) for line in worker.lines())


async def test_the_bucket_is_deleted_and_made_anew_under_load(hire: Hire, outside: Outside, db: Database) -> None:
    workers = {"r1": hire("old"), "r2": hire("new", revision="r2")}
    await asyncio.gather(*(worker.start().started() for worker in workers.values()))
    await rollout.activate(outside.client, outside.names, "r2")
    await says(workers["r2"], taking=True)
    await outside.client.jsm().delete_stream(f"KV_{outside.names.rollout_bucket}")
    await outside.client.publish(outside.names.rollout_changed, b"")
    for n in range(10):
        await outside.send(f"e{n}", chat=f"c{n % 3}")
    await outside.all_answered()
    assert await by(db) == {"r2": 10}
    await messaging.ensure(outside.client, topology(outside.names, web_channels=("web",), storage=256 * 2**20))
    assert (await rollout.activate(outside.client, outside.names, "r1")).generation == 1
    await says(workers["r1"], taking=True)
    await says(workers["r2"], taking=False)
    await outside.send("last")
    await outside.all_answered()
    assert await by(db) == {"r2": 10, "r1": 1}
    outside.judge()


async def test_two_switches_at_once_leave_one_colour(hire: Hire, outside: Outside, db: Database) -> None:
    workers = {name: hire(name, revision=name) for name in ("r2", "r3")}
    await asyncio.gather(*(worker.start().started() for worker in workers.values()))
    known, at = await rollout.read(outside.client, outside.names)
    assert known is not None
    done = await asyncio.gather(
        *(rollout.switch(outside.client, outside.names, at, known.then(name)) for name in workers),
        return_exceptions=True,
    )
    assert [type(result) for result in done if not isinstance(result, int)] == [rollout.Conflict]
    winner = next(name for name, result in zip(workers, done, strict=True) if isinstance(result, int))
    for n in range(10):
        await outside.send(f"e{n}", chat=f"c{n}")
    await outside.all_answered()
    assert await by(db) == {winner: 10}
    outside.judge()
