"""`python -m herald_agent.ask`: answers questions about a deployment from inside one of its workers' pods.

The database and NATS are reached from there and from nowhere else. `kubectl herald` runs this by `kubectl exec`, with
the rights of whoever types it, and prints what comes back: lines of JSON, one value each. Nothing listens for it.
"""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import BaseModel, TypeAdapter

from herald_agent import probing
from herald_agent.store import dead_letters, ledger, outbox
from herald_agent.store.dead_letters import Letter
from herald_agent.store.ledger import StreamState
from herald_agent.store.migrate import read_dsn
from herald_agent.store.pool import Database
from herald_contracts import settings as contracts
from herald_contracts.errors import ConfigurationError, HeraldError, MalformedMessage, TemporaryError
from herald_contracts.ledger import OPEN, STATES, Counts, Row
from herald_contracts.messages import LiveUpdate, Reply
from herald_contracts.settings import AgentSettings
from herald_contracts.subjects import Names
from herald_runtime import logs
from herald_runtime.connection import connect, disconnect

_LOOK_SECONDS = 0.2
_NATS_SECONDS = 3.0
SHOWN_BYTES = 4_000  # of a dead letter's payload
LETTERS = TypeAdapter(list[Letter])


class Ledger(BaseModel):
    """`complete` is False where NATS did not answer: what no worker has read yet is missing then."""

    counts: Counts
    messages: list[Row]
    complete: bool


class Fate(BaseModel):
    """How far one turn is; `row` is None as long as no worker has read its message."""

    row: Row | None
    reply: Reply | None = None

    @property
    def final(self) -> bool:
        return self.row is not None and self.row.state not in OPEN


async def look(nats: contracts.Nats, names: Names, db: Database, *, limit: int = 0, state: str | None = None) -> Ledger:
    """The counts, and the newest `limit` messages, of one state where one is given."""
    stream = None
    with contextlib.suppress(TemporaryError, NatsError, TimeoutError):
        client = await connect(nats, "herald ledger", wait=_NATS_SECONDS)
        try:
            info = (await client.jsm().stream_info(names.in_stream)).state
            stream = StreamState(names.in_stream, info.first_seq, info.last_seq)
        finally:
            await disconnect(client)
    counts = await ledger.counts(db, stream)
    wanted = next((s for s in STATES if s == state), None)
    rows = await ledger.messages(db, state=wanted, limit=limit) if limit else []
    return Ledger(counts=counts, messages=rows, complete=stream is not None)


async def fate(db: Database, turn: str) -> Fate:
    """What has become of a turn, and its reply as it was, or will be, delivered."""
    row = await ledger.of_turn(db, turn)
    return Fate(row=row, reply=await outbox.reply_of(db, turn) if row is not None else None)


def cut(letter: Letter) -> Letter:
    """Without most of what it holds, and as text: bytes that are none have no place in JSON. Pure."""
    text = (letter.payload or b"")[:SHOWN_BYTES].decode("utf-8", "replace")
    return replace(letter, payload=text.encode())


async def _ledger(settings: AgentSettings, db: Database, chosen: argparse.Namespace) -> AsyncIterator[Any]:
    while True:
        yield await look(settings.nats, settings.names, db, limit=chosen.limit, state=chosen.state_is)
        if not chosen.every:
            return
        await asyncio.sleep(chosen.every)


async def _follow(settings: AgentSettings, db: Database, chosen: argparse.Namespace) -> AsyncIterator[Any]:
    """First that we listen; then words as they are written, and the fate at each change, until it is final."""
    updates: asyncio.Queue[LiveUpdate] = asyncio.Queue()

    async def live(msg: Msg) -> None:
        with contextlib.suppress(MalformedMessage):
            update = LiveUpdate.from_wire(msg.data)
            if update.turn == chosen.turn:
                updates.put_nowait(update)

    client = await connect(settings.nats, "herald follow", wait=_NATS_SECONDS)
    try:
        if chosen.conversation:
            await client.subscribe(settings.names.live(chosen.channel, chosen.conversation), cb=live)
            await client.flush()
        yield {"following": chosen.turn}
        last = None
        while last is None or not last.final:
            while not updates.empty():
                yield {"live": json.loads(updates.get_nowait().to_wire())}
            now = await fate(db, chosen.turn)
            if now != last:
                last = now
                yield {"fate": now.model_dump(mode="json", by_alias=True)}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    yield {"live": json.loads((await updates.get()).to_wire())}
    finally:
        await disconnect(client)


async def _turn(_: AgentSettings, db: Database, chosen: argparse.Namespace) -> AsyncIterator[Any]:
    yield await fate(db, chosen.turn)


async def _letters(_: AgentSettings, db: Database, chosen: argparse.Namespace) -> AsyncIterator[Any]:
    if chosen.letter is not None:
        found = await dead_letters.show(db, chosen.letter)
        letters = [found] if found is not None else []
    else:
        letters = await dead_letters.list_letters(db, limit=chosen.limit, replayed=chosen.all)
    yield LETTERS.dump_python([cut(letter) for letter in letters], mode="json")


async def _replay(_: AgentSettings, db: Database, chosen: argparse.Namespace) -> AsyncIterator[Any]:
    for letter in chosen.letters:
        yield LETTERS.dump_python([cut(await dead_letters.replay(db, letter))], mode="json")


async def _probe(settings: AgentSettings, db: Database, chosen: argparse.Namespace) -> AsyncIterator[Any]:
    """One after the other: this process lives in the memory of a worker's container."""
    for part in chosen.parts:
        try:
            seen = await _counted(settings, db) if part == "ledger" else await probing.PROBES[part](settings, db)
            yield {"part": part, "seen": seen}
        except HeraldError as e:
            yield {"part": part, "problem": str(e)}


async def _counted(settings: AgentSettings, db: Database) -> str:
    found = await look(settings.nats, settings.names, db)
    counts = found.counts
    if not counts.balanced:
        raise probing.NotWell(f"accepted {counts.accepted} is not the sum of the others: please report this")
    if not found.complete:
        raise probing.NotWell("NATS does not answer, so that messages no worker has read are not counted")
    return f"{counts.accepted} accepted, {counts.answered} answered, {counts.dead} dead, and the sum is right"


_ANSWERS = {
    "ledger": _ledger,
    "follow": _follow,
    "turn": _turn,
    "letters": _letters,
    "replay": _replay,
    "probe": _probe,
}


async def answer(settings: AgentSettings, chosen: argparse.Namespace) -> None:
    """Print what was asked for. Raises HeraldError."""
    db = await Database.of(read_dsn(settings.database.dsn_file), name="herald ask", most=2)
    try:
        async for value in _ANSWERS[chosen.question](settings, db, chosen):
            plain = value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value
            print(json.dumps(plain, ensure_ascii=False), flush=True)  # noqa: T201 - a command's answer
    finally:
        await db.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m herald_agent.ask", description="Answer a question, as JSON.")
    parser.add_argument("--settings", type=Path, required=True, metavar="FILE", help="rendered settings (JSON)")
    questions = parser.add_subparsers(dest="question", required=True, metavar="QUESTION")
    one = questions.add_parser("ledger", help="what became of every accepted message")
    one.add_argument("--limit", type=int, default=0, metavar="N", help="also the newest N messages")
    one.add_argument("--state-is", choices=STATES, default=None, help="only messages of this state")
    one.add_argument("--every", type=float, default=0, metavar="SECONDS", help="again and again")
    one = questions.add_parser("follow", help="one turn until its fate is final")
    one.add_argument("--turn", required=True)
    one.add_argument("--channel", default="")
    one.add_argument("--conversation", default="", help="its id: also what is written of the reply")
    one = questions.add_parser("turn", help="one turn as it is now")
    one.add_argument("--turn", required=True)
    one = questions.add_parser("letters", help="what failed for good")
    one.add_argument("--letter", type=int, default=None, metavar="ID", help="this one")
    one.add_argument("--limit", type=int, default=50, metavar="N")
    one.add_argument("--all", action="store_true", help="also those that were replayed")
    one = questions.add_parser("replay", help="give letters another chance")
    one.add_argument("letters", type=int, nargs="+", metavar="ID")
    one = questions.add_parser("probe", help="use parts for real")
    one.add_argument("parts", nargs="+", choices=sorted({*probing.PROBES, "ledger"}), metavar="PART")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    # Standard output is the answer.
    logs.configure("ask", "critical")
    try:
        asyncio.run(answer(AgentSettings.load(chosen.settings), chosen))
    except HeraldError as e:
        print(e, file=sys.stderr)  # noqa: T201 - a command's answer
        return 78 if isinstance(e, ConfigurationError) else 75 if e.retryable else 1  # sysexits.h
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
