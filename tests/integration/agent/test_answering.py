"""A worker process from the IN stream to the OUT stream, on real servers, with a scripted model."""

import json
from typing import Any

from herald_agent.deciding import failure
from herald_agent.deciding.commands import NO_MEMORY
from herald_agent.store import dead_letters, ledger
from herald_agent.store.pool import Database
from herald_contracts.identity import reply_id, turn_id
from tests.integration.agent.conftest import Hire
from tests.integration.agent.outside import Outside
from tests.waiting import eventually


async def settled(db: Database, **expected: int) -> None:
    async def look() -> bool:
        counts = await ledger.counts(db)
        return counts.balanced and all(getattr(counts, state) == number for state, number in expected.items())

    await eventually(look, what=f"the ledger to show {expected}")


async def test_a_message_is_answered_and_shows_in_the_ledger(hire: Hire, outside: Outside, db: Database) -> None:
    await hire().start().started()
    sent = await outside.send("e1", content="how are you")
    await outside.all_answered()
    reply = outside.replies[0]
    assert (reply.content, reply.kind) == ("echo: how are you", "answer")
    assert (reply.event_id, reply.reply_to, reply.chat) == ("e1", sent.platform_message_id, sent.chat)
    await settled(db, answered=1, accepted=1)
    row = (await ledger.messages(db))[0]
    assert (row.revision, row.attempts, row.platform_message_id) == ("r1", 1, f"om-{reply.id}")
    outside.judge()


async def test_the_reply_grows_before_the_eyes_of_the_reader(hire: Hire, outside: Outside) -> None:
    await hire().start().started()
    sent = await outside.send("e1", content="one two three four five [[delay=0.1]]")
    await outside.all_answered()
    updates = outside.live
    assert updates[0].state == "started"
    assert [u.sequence for u in updates] == sorted({u.sequence for u in updates})
    assert {u.reply for u in updates} == {reply_id(turn_id(sent.id))}
    texts = [u.text for u in updates if u.state == "streaming"]
    assert len(texts) >= 3
    assert all(outside.replies[0].content.startswith(text) for text in texts)


async def test_bad_days_of_a_model(hire: Hire, outside: Outside, db: Database) -> None:
    """Whatever the model does, each message has one honest reply, and the conversation goes on behind it."""
    generation = {"max_tokens": 8_192, "idle_seconds": 1, "first_token_seconds": 1}
    await hire(turn_seconds=6, concurrency=32, per_user=32, generation=generation).start().started()
    cases: dict[str, Any] = {
        "[[empty]]": failure.text("empty"),
        "[[refuse]]": failure.text("refused"),
        "[[error]]": failure.text("unavailable"),
        "[[error-after=2]] a b c": failure.text("unavailable"),
        "[[hang]]": failure.text("too_slow"),
        "[[hang-after=2]] a b c": failure.text("too_slow"),
        "[[endless]] [[delay=0.01]]": failure.text("too_slow"),
        "[[fail=2]] patience": "echo: patience",
        "[[nul]]": "one two three",
        "[[invalid-utf8]]": "one  three",
        "[[tokens=9000]] x": None,
        "[[huge=1000000]]": None,
        "ümläute 字 👩‍👩‍👧 \u202ertl\u202c \u200bzero": "echo: ümläute 字 👩‍👩‍👧 \u202ertl\u202c \u200bzero",
    }
    for n, content in enumerate(cases):
        await outside.send(f"bad{n}", chat=f"c{n}", content=content)
        await outside.send(f"next{n}", chat=f"c{n}", content="still there")
    await outside.all_answered(within=60)
    texts = {reply.event_id: reply.content for reply in outside.replies}
    for n, expected in enumerate(cases.values()):
        if expected is not None:
            assert texts[f"bad{n}"] == expected, list(cases)[n]
        else:
            assert texts[f"bad{n}"].endswith("[The answer was cut here: it became too long.]")
            assert len(texts[f"bad{n}"]) <= 100_000
        assert texts[f"next{n}"] == "echo: still there"
    await settled(db, dead=7, answered=2 * len(cases) - 7)
    reasons = {letter.reason.split(" (")[0].split(";")[0] for letter in await dead_letters.list_letters(db)}
    assert reasons == {
        "the model gave an empty answer",
        "the model cannot take this request",
        "the model was not available",
        "the model was too slow",
    }
    outside.judge()


async def test_a_long_message_and_a_flood_of_one_user(hire: Hire, outside: Outside, db: Database) -> None:
    await hire(per_user=2).start().started()
    await outside.send("long", chat="long", user="zoe", content="begin " + "word " * 20_000 + "end")
    for n in range(50):
        await outside.send(f"f{n}", chat=f"c{n}", content=f"[[delay=0.01]] flood {n}")
    await outside.send("other", chat="other", user="bob", content="hello")
    await outside.all_answered()
    order = [reply.event_id for reply in outside.replies]
    # Bob was last to write, and half of the flood is behind him.
    assert order.index("other") < 25
    outside.judge()
    assert "begin" in next(r.content for r in outside.replies if r.event_id == "long")


async def test_edits_and_recalls_change_what_the_model_sees_and_are_noted(
    hire: Hire, outside: Outside, db: Database
) -> None:
    await hire().start().started()
    await outside.send("e1", content="first")
    await outside.send("e2", content="second")
    await outside.all_answered()
    await outside.send("e3", kind="edit", target="p-e1", content="first, edited")
    await outside.send("e4", kind="recall", target="p-e2", content="")
    await settled(db, answered=2, noted=2)
    contents = await db.values("SELECT content FROM history WHERE role = 'user' ORDER BY position")
    assert contents == ["first, edited", "(this message was taken back by its sender)"]
    outside.judge()


async def test_what_cannot_be_read_is_a_dead_letter_and_stops_nobody(
    hire: Hire, outside: Outside, db: Database
) -> None:
    await outside.put(b"\xff\x00 no json", "x1")
    await outside.put(b'{"schema": "2.0"}', "x2")
    await outside.send("e1")
    readable = await outside.send("e2")
    await outside.put(readable.model_copy(update={"id": "m0", "event_id": "e\0"}).to_wire(), "x3")
    await outside.send("e3")
    await hire().start().started()
    await outside.all_answered()
    await settled(db, accepted=6, answered=3, dead=3)
    outside.judge()


async def test_without_a_memory_the_person_is_told(hire: Hire, outside: Outside) -> None:
    worker = hire()
    worker.arguments = ("--no-memory",)
    await worker.start().started()
    await outside.send("e1", content="remember that I like tea")
    await outside.all_answered()
    assert outside.replies[0].content == NO_MEMORY


async def test_a_replayed_dead_letter_is_answered_after_all(hire: Hire, outside: Outside, db: Database) -> None:
    await hire(turn_seconds=1).start().started()
    # Fails for longer than the turn's time, and works at the sixth attempt.
    sent = await outside.send("e1", content="[[fail=5]] at last")
    await outside.all_answered()
    assert outside.replies[0].kind == "failure"
    await settled(db, dead=1)
    letter = (await dead_letters.list_letters(db))[0]
    for _ in range(5):
        await dead_letters.replay(db, (await dead_letters.list_letters(db))[0].id)

        async def ended() -> bool:
            return not await db.value("SELECT open_turns FROM conversations")

        await eventually(ended, what="the replayed turn to end")
        if await db.value("SELECT state FROM turns") == "done":
            break
    await settled(db, answered=1)
    assert outside.replies[-1].content == "echo: at last"
    assert outside.replies[-1].id != reply_id(turn_id(sent.id))
    assert (await dead_letters.show(db, letter.id)) is not None


async def test_a_reply_that_its_platform_refuses_is_a_dead_letter(hire: Hire, outside: Outside, db: Database) -> None:
    outside.delivering = False
    await hire().start().started()
    await outside.send("e1")
    await outside.send("e2")
    await outside.all_answered_in("e1")
    first = outside.replies[0]
    assert len(outside.replies) == 1, "the second waits for the first one's receipt"
    await outside.receipt(first, "failed", reason="the chat is gone")
    await outside.all_answered()
    await outside.receipt(outside.replies[1], "unknown", reason="timeout")
    await settled(db, dead=1, unknown=1)
    letter = (await dead_letters.list_letters(db))[0]
    assert (letter.source, letter.reason, letter.event_id) == ("delivery", "the chat is gone", "e1")
    outside.judge()


async def test_health_and_metrics(hire: Hire, outside: Outside) -> None:
    worker = await hire().start().started()
    status, body = await worker.get("/healthz/live")
    assert (status, json.loads(body)) == (200, {"live": True})

    async def ready() -> bool:
        return (await worker.get("/healthz/ready"))[0] == 200

    await eventually(ready, what="readiness")
    await outside.send("e1")
    await outside.all_answered()
    await outside.receipts_read()

    async def measured() -> bool:
        _, text = await worker.get("/metrics")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        wanted = [
            ("herald_agent_intake_total", 'outcome="claimed"', 1),
            ("herald_agent_turns_total", 'outcome="done"', 1),
            ("herald_agent_turn_duration_seconds_count", 'outcome="done"', 1),
            ("herald_agent_turns_in_flight", "", 0),
            ("herald_agent_relayed_total", "", 1),
            ("herald_ledger_messages", 'state="answered"', 1),
            ("herald_ledger_messages", 'state="dead"', 0),
        ]
        return all(
            any(line.startswith(name) and label in line and float(line.split()[-1]) == value for line in lines)
            for name, label, value in wanted
        )

    await eventually(measured, what="the metrics", within=30)
