"""`herald ledger`: the promise, counted."""

import asyncio
import sys
import time
from datetime import datetime

import click

from herald_agent import ask
from herald_agent.ask import Ledger
from herald_cli import access, options
from herald_cli.state import Snapshot, StateFolder
from herald_cli.style import Style, of, printable, table
from herald_contracts.ledger import MEANING, STATES, Counts, Row

_WATCH_SECONDS = 1.0
_GOOD = ("answered", "noted")


@click.command("ledger")
@click.option("--watch", is_flag=True, help="Look again every second.")
@click.option("--messages", is_flag=True, help="One row per message, newest first.")
@click.option("--state-is", type=click.Choice(STATES), help="Only messages in this state.")
@click.option("-n", "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most rows.")
@options.as_json
@options.state
def command(watch: bool, messages: bool, state_is: str | None, limit: int, json_: bool, folder: StateFolder) -> None:
    """Count what became of every accepted message.

    Accepted must equal the sum of all the others; if it ever does not, this command says so and exits with 1.
    """
    snapshot = folder.running()
    wanted = limit if messages or state_is else 0
    while True:
        found = asyncio.run(look(folder, snapshot, wanted, state_is))
        show(found, messages=bool(wanted), json_=json_, clear=watch)
        if not watch:
            break
        time.sleep(_WATCH_SECONDS)
    if not found.counts.balanced:
        raise SystemExit(1)


async def look(folder: StateFolder, snapshot: Snapshot, limit: int, state: str | None) -> Ledger:
    """Counts, the newest rows, and whether NATS could be asked for what no worker has read yet."""
    async with access.database(folder) as db:
        nats = access.nats_settings(folder, snapshot)
        return await ask.look(nats, access.names(snapshot), db, limit=limit, state=state)


def show(found: Ledger, *, messages: bool, json_: bool, clear: bool, herald: str = "herald") -> None:
    """Print it; `clear` first what stands on the terminal. `herald`: the command that knows more."""
    rows = found.messages if messages else None
    if json_:
        options.emit(report(found.counts, rows, found.complete))
    else:
        if clear and sys.stdout.isatty():
            click.clear()
        for line in lines(found.counts, rows, found.complete, of(sys.stdout), herald=herald):
            click.echo(line)
    sys.stdout.flush()


def report(counts: Counts, rows: list[Row] | None, complete: bool) -> dict[str, object]:
    """The JSON of `herald ledger`. Pure."""
    value: dict[str, object] = {
        "accepted": counts.accepted,
        **{state: getattr(counts, state) for state in STATES},
        "balanced": counts.balanced,
        "complete": complete,
    }
    if rows is not None:
        value["messages"] = [row.model_dump(mode="json") for row in rows]
    return value


def lines(counts: Counts, rows: list[Row] | None, complete: bool, style: Style, *, herald: str = "herald") -> list[str]:
    """What a person sees. Pure."""
    out = [f"{style('accepted', 'bold')}  {counts.accepted:>8,}"]
    for state in STATES:
        number = getattr(counts, state)
        colour = "dim" if not number else "green" if state in _GOOD else "red" if state == "dead" else "yellow"
        meaning = MEANING[state].replace("`herald ", f"`{herald} ")
        out.append(f"  {state:<9} {style(f'{number:>6,}', colour)}  {style(meaning, 'dim')}")
    if counts.balanced:
        out.append(style("✓ accepted = the sum of the others", "green"))
    else:
        total = sum(getattr(counts, state) for state in STATES)
        out.append(style(f"✗ ALARM: accepted is {counts.accepted}, the others are {total}: please report this", "red"))
    if not complete:
        out.append(style("! NATS does not answer: messages that no worker has read yet are not counted", "yellow"))
    if rows:
        out.append("")
        cells = [["RECEIVED", "STATE", "CHANNEL", "EVENT", "TURN", "TRIES", "REVISION", "STARTED", "DONE", "DELIVERED"]]
        cells += [_cells(row) for row in rows]
        heading, *rest = table(cells)
        out.append(style(heading, "dim"))
        for text, row in zip(rest, rows, strict=True):
            out.append(style(text, "red") if row.state in ("dead", "unknown") else text)
            if row.reason:
                out.append(f"    {style(printable(row.reason), 'yellow')}")
    return out


def _cells(row: Row) -> list[str]:
    return [
        row.received_at.strftime("%m-%d %H:%M:%S"),
        row.state,
        row.channel,
        printable(row.event_id)[:40],
        row.turn,
        str(row.attempts),
        row.revision or "",
        _after(row.received_at, row.started_at),
        _after(row.received_at, row.finished_at),
        _after(row.received_at, row.delivered_at),
    ]


def _after(begun: datetime, then: datetime | None) -> str:
    return f"+{(then - begun).total_seconds():.2f}s" if then is not None else ""
