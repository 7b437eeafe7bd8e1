"""`python -m herald_agent.ask` against a real database and NATS: what `kubectl herald` runs in a worker's pod."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from herald_agent.ask import LETTERS, SHOWN_BYTES, Fate, Ledger
from herald_agent.deciding.turns import Unreadable
from herald_agent.store import outbox
from herald_agent.store.outbox import Outcome
from herald_contracts.messages import LiveUpdate, Message
from herald_contracts.settings import AgentSettings
from herald_contracts.subjects import Names
from herald_runtime.connection import connect
from tests import servers
from tests.integration.agent.desk import Desk
from tests.unit.agent.values import NOW, new_turn


@pytest.fixture
def settings_file(agent_settings: AgentSettings, tmp_path: Path) -> Path:
    file = tmp_path / "agent.json"
    file.write_text(agent_settings.model_dump_json())
    return file


@asynccontextmanager
async def _asking(file: Path, *question: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = (sys.executable, "-m", "herald_agent.ask", "--settings", str(file), *question)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ask(file: Path, *question: str) -> tuple[int, list[Any], str]:
    """Exit code, values, what was said about a failure."""
    async with _asking(file, *question) as process:
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


async def test_the_ledger_counts_and_lists(desk: Desk, settings_file: Path) -> None:
    await desk.accept(1, chat="a", user="ann")
    await desk.answer(await desk.take())
    await desk.accept(2, chat="b", user="bob")
    code, (value,), _ = await ask(settings_file, "ledger", "--limit", "10")
    found = Ledger.model_validate(value)
    assert code == 0
    assert (found.counts.accepted, found.counts.replying, found.counts.waiting) == (2, 1, 1)
    assert found.complete
    assert [row.event_id for row in found.messages] == ["e2", "e1"]
    _, (value,), _ = await ask(settings_file, "ledger", "--limit", "10", "--state-is", "replying")
    assert [row.event_id for row in Ledger.model_validate(value).messages] == ["e1"]


async def test_without_nats_the_ledger_says_that_it_is_not_complete(
    desk: Desk, agent_settings: AgentSettings, settings_file: Path
) -> None:
    await desk.accept(1)
    away = agent_settings.nats.model_copy(update={"url": "nats://127.0.0.1:1"})
    settings_file.write_text(agent_settings.model_copy(update={"nats": away}).model_dump_json())
    code, (value,), _ = await ask(settings_file, "ledger")
    assert code == 0
    assert not Ledger.model_validate(value).complete


async def test_a_turn_is_followed_from_before_it_is_accepted_until_its_fate_is_final(
    desk: Desk, settings_file: Path, nats: servers.Nats, deployment: Names
) -> None:
    new = new_turn(1)
    question = ("follow", "--turn", new.turn, "--channel", new.channel, "--conversation", new.conversation)
    async with asyncio.timeout(60), _asking(settings_file, *question) as process:
        assert process.stdout is not None

        async def following() -> Any:
            assert process.stdout is not None
            return json.loads(await process.stdout.readline())

        assert await following() == {"following": new.turn}
        assert await following() == {"fate": {"row": None, "reply": None}}
        await desk.claim(new)
        taken = await desk.take()
        while (value := await following()).get("fate", {}).get("row", {}).get("state") != "running":
            assert value["fate"]["row"]["state"] == "waiting"
        _, reply = desk.reply_to(taken, "Hello, Ann.")
        written = Message.from_wire(taken.payload.encode())
        update = LiveUpdate(
            turn=new.turn,
            reply=reply.id,
            channel=new.channel,
            conversation=new.conversation,
            chat=written.chat,
            event_id=new.event_id,
            sequence=1,
            text="Hello",
        )
        client = await connect(nats.settings, "test")
        await client.publish(deployment.live(new.channel, new.conversation), update.to_wire())
        await client.flush()
        assert LiveUpdate.from_wire(json.dumps((await following())["live"]).encode()).text == "Hello"
        await client.close()
        await desk.answer(taken, "Hello, Ann.")
        # Its row is read before its reply, so the first look may find the one and not yet the other.
        while (fate := Fate.model_validate((await following())["fate"])).row is None or fate.row.state == "running":
            assert not fate.final
        assert fate.reply is not None
        assert (fate.row.state, fate.reply.content, fate.final) == ("replying", "Hello, Ann.", False)
        await outbox.record(desk.db, [Outcome(fate.reply.id, "sent", "om", "", 1, NOW)])
        fate = Fate.model_validate((await following())["fate"])
        assert fate.final
        assert await process.wait() == 0


async def test_dead_letters_are_listed_shown_and_replayed_once(desk: Desk, settings_file: Path) -> None:
    await desk.accept(1)
    await desk.bury(await desk.take(), "the model refused")
    await desk.claim(unreadable=(Unreadable(2, "no JSON", b"\xff" * (2 * SHOWN_BYTES)),))
    code, (value,), _ = await ask(settings_file, "letters")
    unreadable, dead = LETTERS.validate_python(value)
    assert code == 0
    assert (dead.source, dead.reason, dead.event_id) == ("turn", "the model refused", "e1")
    assert (unreadable.payload or b"").decode().startswith("�")
    _, (value,), _ = await ask(settings_file, "letters", "--letter", str(dead.id))
    assert [letter.id for letter in LETTERS.validate_python(value)] == [dead.id]
    code, (value,), _ = await ask(settings_file, "replay", str(dead.id))
    assert code == 0
    assert LETTERS.validate_python(value)[0].id == dead.id
    code, values, said = await ask(settings_file, "replay", str(dead.id))
    assert (code, values) == (1, [])
    assert said.startswith(f"dead letter {dead.id} was replayed at")
    assert "Traceback" not in said


async def test_parts_are_used_for_real_and_each_says_what_it_saw(desk: Desk, settings_file: Path) -> None:
    await desk.accept(1)
    code, values, _ = await ask(settings_file, "probe", "database", "schema", "ledger", "model")
    said = {value["part"]: value for value in values}
    assert code == 0
    assert "a durable write in" in said["database"]["seen"]
    assert "as this version needs" in said["schema"]["seen"]
    assert said["ledger"]["seen"] == "1 accepted, 0 answered, 0 dead, and the sum is right"
    assert said["model"]["problem"]  # nobody listens there


async def test_a_database_that_is_away_is_one_text_and_may_be_asked_again(
    agent_settings: AgentSettings, settings_file: Path
) -> None:
    agent_settings.database.dsn_file.write_text("postgresql://nobody:secret-word@127.0.0.1:1/x")
    code, values, said = await ask(settings_file, "ledger")
    assert (code, values) == (75, [])
    assert len(said.splitlines()) == 1
    assert "secret-word" not in said


async def test_settings_that_are_missing_are_one_text(tmp_path: Path) -> None:
    code, values, said = await ask(tmp_path / "none.json", "ledger")
    assert (code, values) == (78, [])
    assert "Traceback" not in said
