"""`herald down`: stop in order, and say when nothing is left."""

import signal
import time

import click

from herald_cli import leftovers, options
from herald_cli.processes import Process, kill, tree
from herald_cli.state import NotRunning, Snapshot, StateFolder
from herald_cli.terminal import Progress
from herald_contracts.errors import TemporaryError

_LOOK_SECONDS = 0.05


class StillRunning(TemporaryError):
    """It did not stop in time."""


@click.command("down")
@click.option("--timeout", type=float, default=120, show_default=True, help="Seconds to wait before killing it.")
@options.as_json
@options.state
def command(timeout: float, json_: bool, folder: StateFolder) -> None:
    """Stop Herald: first the gateway, then the workers, then the servers.

    What was accepted and is not answered yet stays in the state folder and goes on at the next start.
    """
    try:
        snapshot = folder.running()
    except NotRunning:
        if not folder.root.exists() or folder.held():
            raise
        with folder.lock():
            ended = leftovers.clean(folder.snapshot(), folder.choices(), folder.root)
        _say(json_, stopped=False, ended=ended, text="Herald was not running" + _left(ended))
        return
    stop(folder, snapshot, timeout, quiet=json_)
    _say(json_, stopped=True, ended=0, text="Herald is down.")


def stop(folder: StateFolder, snapshot: Snapshot, timeout: float, *, quiet: bool = False) -> None:
    """Ask it to stop and wait for it; kill it after `timeout` seconds. Raises StillRunning."""
    shown = None if quiet else Progress(known=snapshot)
    snapshot.process.send(signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while snapshot.process.alive():
        if time.monotonic() > deadline:
            _force(folder, snapshot.process)
            break
        now = folder.snapshot()
        if shown is not None and now is not None:
            shown.show(now)
        time.sleep(_LOOK_SECONDS)
    if shown is not None:
        last = folder.snapshot()
        if last is not None:
            shown.show(last)
        shown.close()


def _force(folder: StateFolder, process: Process) -> None:
    """Kill it and everything of it, as its guard would."""
    kill(tree(process))
    deadline = time.monotonic() + 10
    while folder.held():
        if time.monotonic() > deadline:
            raise StillRunning(f"pid {process.pid} does not end, even when killed: is its disk hanging?")
        time.sleep(_LOOK_SECONDS)
    with folder.lock():
        leftovers.clean(folder.snapshot(), folder.choices(), folder.root)


def _left(ended: int) -> str:
    return f"; ended {ended} processes that it had left behind" if ended else ""


def _say(json_: bool, *, stopped: bool, ended: int, text: str) -> None:
    if json_:
        options.emit({"stopped": stopped, "ended": ended})
    else:
        click.echo(text)
