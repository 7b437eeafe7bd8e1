"""Durable within the platform's patience, or an error: never a guess."""

import asyncio
import time
from collections.abc import Callable

import pytest

from herald_contracts.errors import ConfigurationError, HeraldError
from herald_contracts.messages import Message
from herald_contracts.subjects import Names
from herald_gateway.publishing import Intake, NotNow, not_now
from herald_runtime.acks import NotStored, OutcomeUnknown, Publisher, Stored, StreamFull
from tests.unit.gateway import samples

NAMES = Names("ns", "dep")


class Script(Publisher):
    """Answers publishes from a list; the last entry is repeated."""

    def __init__(self, *answers: Stored | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, bytes, str, float]] = []

    async def publish(self, subject: str, payload: bytes, message_id: str, *, deadline: float) -> Stored:
        self.calls.append((subject, payload, message_id, deadline))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def intake(script: Script | None, deadline: float = 2.5) -> Intake:
    made = Intake(NAMES, deadline)
    made.publisher = script
    return made


async def test_stored_under_the_messages_own_id_and_subject() -> None:
    script = Script(Stored("IN", 1, False), Stored("IN", 1, True))
    message = samples.message()
    assert await intake(script).store([message, message], time.perf_counter(), 3) == [False, True]
    subject, payload, message_id, deadline = script.calls[0]
    assert subject == f"herald.ns.dep.in.live.hook.{message.conversation}"
    assert Message.from_wire(payload) == message
    assert message_id == message.id
    assert deadline <= 1


@pytest.mark.parametrize("first", [NotStored("x"), OutcomeUnknown("x")])
async def test_a_hiccup_is_tried_again_under_the_same_id(first: Exception) -> None:
    script = Script(first, Stored("IN", 7, True))
    assert await intake(script).store([samples.message()], time.perf_counter(), 3) == [True]
    assert len({call[2] for call in script.calls}) == 1
    assert len(script.calls) == 2


@pytest.mark.parametrize("kind", [NotStored, OutcomeUnknown])
async def test_the_deadline_ends_the_trying(kind: Callable[[str], Exception]) -> None:
    script = Script(kind("x"))
    with pytest.raises((NotStored, OutcomeUnknown)):
        await intake(script, deadline=0.2).store([samples.message()], time.perf_counter(), 3)
    assert len(script.calls) > 1


async def test_the_platforms_patience_ends_it_sooner() -> None:
    script = Script(NotStored("x"))
    async with asyncio.timeout(5):
        with pytest.raises(NotStored):
            await intake(script, deadline=60).store([samples.message()], time.perf_counter(), 0.1)


async def test_a_full_stream_is_said_at_once() -> None:
    script = Script(StreamFull("x"))
    with pytest.raises(StreamFull):
        await intake(script, deadline=60).store([samples.message()], time.perf_counter(), 60)
    assert len(script.calls) == 1


async def test_trouble_is_told_until_a_message_is_stored_again() -> None:
    made = intake(Script(OutcomeUnknown("no word"), Stored("IN", 1, False)), deadline=0.01)
    assert made.trouble() == ""
    with pytest.raises(OutcomeUnknown):
        await made.store([samples.message()], time.perf_counter(), 3)
    assert "no word" in made.trouble()
    await made.store([samples.message()], time.perf_counter(), 3)
    assert made.trouble() == ""


async def test_trouble_is_forgotten_so_that_somebody_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = intake(Script(OutcomeUnknown("no word")), deadline=0.01)
    with pytest.raises(OutcomeUnknown):
        await made.store([samples.message()], time.perf_counter(), 3)
    now = time.perf_counter()
    monkeypatch.setattr("herald_gateway.publishing.time.perf_counter", lambda: now + 10)
    assert made.trouble() == ""


async def test_before_the_connection_stands_nothing_is_promised() -> None:
    with pytest.raises(NotStored):
        await intake(None, deadline=0.1).store([samples.message()], time.perf_counter(), 3)


async def test_nothing_to_store_needs_no_connection() -> None:
    assert await intake(None).store([], time.perf_counter(), 3) == []


@pytest.mark.parametrize(
    ("error", "reason", "seconds"),
    [
        (StreamFull("x"), "stream_full", 30),
        (NotStored("x"), "not_stored", 2),
        (OutcomeUnknown("x"), "no_acknowledgement", 2),
        (ConfigurationError("x"), "configuration", 30),
    ],
)
def test_how_it_is_told(error: HeraldError, reason: str, seconds: int) -> None:
    assert not_now(error) == NotNow(reason, seconds)
