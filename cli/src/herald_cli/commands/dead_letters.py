"""`herald dead-letters`: what failed for good, why, and another chance for it."""

import asyncio
import json
import sys

import click

from herald_agent.ask import SHOWN_BYTES
from herald_agent.store import dead_letters as store
from herald_agent.store.dead_letters import Letter
from herald_cli import access, options
from herald_cli.state import StateFolder
from herald_cli.style import Style, of, printable, table
from herald_contracts.errors import PermanentError


class NoSuchLetter(PermanentError):
    """There is no dead letter of this number."""


@click.group("dead-letters")
def command() -> None:
    """Messages that failed for good, and replies that a platform refused."""


@command.command("list")
@click.option("--all", "replayed", is_flag=True, help="Also those that were replayed.")
@click.option("-n", "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most rows.")
@options.as_json
@options.state
def list_(replayed: bool, limit: int, json_: bool, folder: StateFolder) -> None:
    """List them, newest first."""
    show_list(asyncio.run(_list(folder, limit, replayed)), json_)


@command.command("show")
@click.argument("letter", type=int)
@options.as_json
@options.state
def show(letter: int, json_: bool, folder: StateFolder) -> None:
    """Show one, with its message."""
    show_one(asyncio.run(_show(folder, letter)), json_)


@command.command("replay")
@click.argument("letters", type=int, nargs=-1, required=True)
@options.as_json
@options.state
def replay(letters: tuple[int, ...], json_: bool, folder: StateFolder) -> None:
    """Give each of LETTERS another chance, exactly once; what fails again is a new letter."""
    show_replayed(asyncio.run(_replay(folder, letters)), json_)


async def _list(folder: StateFolder, limit: int, replayed: bool) -> list[Letter]:
    folder.running()
    async with access.database(folder) as db:
        return await store.list_letters(db, limit=limit, replayed=replayed)


async def _show(folder: StateFolder, letter: int) -> Letter:
    folder.running()
    async with access.database(folder) as db:
        found = await store.show(db, letter)
    if found is None:
        raise NoSuchLetter(f"there is no dead letter {letter}; see `herald dead-letters list --all`")
    return found


async def _replay(folder: StateFolder, letters: tuple[int, ...]) -> list[Letter]:
    folder.running()
    async with access.database(folder) as db:
        return [await store.replay(db, letter) for letter in letters]


def show_list(letters: list[Letter], json_: bool, *, herald: str = "herald") -> None:
    """`herald`: how the command is called that knows more."""
    if json_:
        options.emit({"letters": [report(letter) for letter in letters]})
        return
    for line in lines(letters, of(sys.stdout), herald=herald):
        click.echo(line)


def show_one(letter: Letter, json_: bool) -> None:
    if json_:
        options.emit({"letter": {**report(letter), "payload": _text(letter)}})
        return
    for name, value in report(letter).items():
        if value is not None:
            click.echo(f"{name:<13} {printable(str(value))}")
    click.echo(f"\n{printable(_pretty(_text(letter)))}")


def show_replayed(letters: list[Letter], json_: bool, *, herald: str = "herald") -> None:
    """The letters as they were."""
    if json_:
        options.emit({"replayed": [report(letter) for letter in letters]})
        return
    for letter in letters:
        click.echo(f"replayed {letter.id}: {letter.event_id or letter.stream_seq or ''} ({letter.source})")
    click.echo(f"follow with `{herald} ledger --messages`")


def report(letter: Letter) -> dict[str, object]:
    """One letter as JSON, without what it holds. Pure."""
    return {
        "id": letter.id,
        "source": letter.source,
        "reason": letter.reason,
        "event": letter.event_id,
        "channel": letter.channel,
        "conversation": letter.conversation,
        "turn": letter.turn,
        "reply": letter.reply,
        "stream": letter.stream,
        "stream_sequence": letter.stream_seq,
        "created_at": letter.created_at.isoformat(),
        "replayed_at": letter.replayed_at.isoformat() if letter.replayed_at is not None else None,
    }


def lines(letters: list[Letter], style: Style, *, herald: str = "herald") -> list[str]:
    """What a person sees. Pure."""
    if not letters:
        return [style("✓ no dead letters", "green")]
    cells = [["ID", "WHEN", "SOURCE", "CHANNEL", "EVENT", "REPLAYED"]]
    cells += [
        [
            str(letter.id),
            letter.created_at.strftime("%m-%d %H:%M:%S"),
            letter.source,
            letter.channel or "",
            printable(letter.event_id or f"{letter.stream}:{letter.stream_seq}")[:48],
            letter.replayed_at.strftime("%m-%d %H:%M:%S") if letter.replayed_at is not None else "",
        ]
        for letter in letters
    ]
    heading, *rest = table(cells)
    out = [style(heading, "dim")]
    for text, letter in zip(rest, letters, strict=True):
        out += [text, f"    {style(printable(letter.reason), 'yellow')}"]
    return [*out, "", f"look: {herald} dead-letters show ID   another chance: {herald} dead-letters replay ID"]


def _text(letter: Letter) -> str:
    return (letter.payload or b"")[:SHOWN_BYTES].decode("utf-8", "replace")


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
