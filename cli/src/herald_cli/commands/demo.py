"""`herald demo`: bring everything up, ask one question through a signed webhook, show what became of it."""

import asyncio
import sys
from pathlib import Path

import click

from herald_cli import deployment_file, options, signing
from herald_cli.commands.send import Shown
from herald_cli.commands.up import Failed, start_detached
from herald_cli.sending import send
from herald_cli.state import NotRunning, Snapshot, StateFolder
from herald_cli.style import of, seconds

_QUESTION = "What is a message queue good for?"
_SECONDS = 150.0
_LOOK = ("status", "ledger", "logs -f", "doctor")


@click.command("demo")
@click.option("-f", "--file", type=click.Path(path_type=Path), default=Path("examples/demo.yaml"), show_default=True)
@click.option("--question", default=_QUESTION, show_default=True, help="What to ask.")
@options.state
def command(file: Path, question: str, folder: StateFolder) -> None:
    """Start Herald if it does not run, send one question, show the answer as it is written and its record.

    Herald keeps running afterwards. A second run takes seconds.
    """
    style = of(sys.stdout)
    read = deployment_file.read(file)
    folder.create()
    try:
        snapshot = _running(folder)
        click.echo(f"Herald runs already (pid {snapshot.pid}).")
    except NotRunning:
        try:
            snapshot = start_detached(read, folder)
        except Failed as e:
            click.echo(str(e), err=True)
            raise SystemExit(e.code) from None
        for note in snapshot.notes:
            click.echo(style(f"  {note}", "dim"))
    running = deployment_file.read(Path(snapshot.file)).bundle.deployment
    client = signing.client(running, folder.secrets, None)
    click.echo(f"\nA question, signed and posted to {snapshot.gateway}/channels/{client.channel}/events:")
    click.echo(f"  {style(question, 'bold')}\n")
    shown = Shown(style, quiet=False)
    sent = asyncio.run(
        send(
            folder,
            snapshot,
            client,
            question,
            conversation="demo",
            sender="demo",
            timeout=_SECONDS,
            on_text=shown.text,
            on_accepted=shown.accepted,
        )
    )
    shown.final(sent)
    if sent.row is None or sent.row.state != "answered":
        raise SystemExit(1)
    click.echo(f"\nHerald keeps running. {style('Next:', 'bold')}")
    rows = [("chat page", style(snapshot.web, "bold", "cyan"))] if snapshot.web else []
    state, herald = options.again(folder), options.program()
    rows.append(("ask again", f'{herald} send "..."{state}'))
    rows += [("" if n else "look", f"{herald} {name}{state}") for n, name in enumerate(_LOOK)]
    rows.append(("stop", f"{herald} down{state}"))
    for name, value in rows:
        click.echo(f"  {name:<10} {value}")


def _running(folder: StateFolder) -> Snapshot:
    """The one that runs and is ready; one that is still starting is waited for by whoever started it."""
    snapshot = folder.running()
    if snapshot.phase != "running":
        click.echo(f"Herald is {snapshot.phase} (pid {snapshot.pid}): try again in {seconds(10)}", err=True)
        raise SystemExit(75)
    return snapshot
