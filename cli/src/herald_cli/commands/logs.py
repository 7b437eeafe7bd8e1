"""`herald logs`: what the parts say, in the order in which they said it."""

import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

import click

from herald_cli import logfiles, options
from herald_cli.logfiles import Entry
from herald_cli.state import StateFolder
from herald_cli.style import Style, of, printable
from herald_contracts.errors import PermanentError

_LOOK_SECONDS = 0.2


class NoSuchLog(PermanentError):
    """A component that has written nothing, or does not exist."""


@click.command("logs")
@click.argument("component", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True, help="How many to begin with.")
@options.as_json
@options.state
def command(component: str | None, follow: bool, lines: int, json_: bool, folder: StateFolder) -> None:
    """Show the newest log lines of every part, or of one COMPONENT (nats, postgres, triton, gateway, agent-1, ...).

    With --json each line is printed as it was written: one JSON object with timestamp, level, component and event.
    """
    known = logfiles.components(folder.logs)
    if component is not None and component not in known:
        raise NoSuchLog(f"no log of {component!r}; there are: {', '.join(known) or 'none yet'}")
    wanted = [component] if component is not None else known
    followed = {name: _Tail(folder.logs / f"{name}.log") for name in wanted} if follow else {}
    found = [entry for name in wanted for entry in logfiles.last_lines(folder.logs, name, lines)]
    found.sort(key=lambda entry: entry.timestamp)
    style = of(sys.stdout)
    for entry in found[-lines:] if lines else []:
        click.echo(entry.raw if json_ else shown(entry, style))
    while followed:
        new = [logfiles.parse(line) for tail in followed.values() for line in tail.read()]
        for entry in sorted(new, key=lambda e: e.timestamp):
            click.echo(entry.raw if json_ else shown(entry, style))
        sys.stdout.flush()
        time.sleep(_LOOK_SECONDS)


def shown(entry: Entry, style: Style) -> str:
    """One entry for a person: time, part, text, and the fields that came with it. Pure."""
    colour = {"error": "red", "critical": "red", "warning": "yellow", "debug": "dim"}.get(entry.level)
    event = printable(entry.event)
    fields = " ".join(f"{style(printable(k), 'dim')}={printable(v)}" for k, v in entry.fields)
    text = style(event, colour) if colour else event
    mark = {"error": "E", "critical": "E", "warning": "W", "debug": "D"}.get(entry.level, " ")
    time_ = entry.timestamp[11:23] if len(entry.timestamp) >= 23 else entry.timestamp.ljust(12)
    return f"{style(time_, 'dim')} {mark} {entry.component:<9} {text}" + (f"  {fields}" if fields else "")


class _Tail:
    """What is appended to a log from now on, across its rotation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = logfiles.Lines()
        self._file: BinaryIO | None = None
        if path.exists():
            self._file = path.open("rb")
            self._file.seek(0, os.SEEK_END)

    def read(self) -> list[str]:
        found: list[str] = []
        if self._file is None and self._path.exists():
            self._file = self._path.open("rb")
        if self._file is not None:
            found += self._lines.feed(self._file.read())
            if self._rotated():
                # What was written between our reading and the rotation is in the old file still.
                found += self._lines.feed(self._file.read())
                self._file.close()
                self._file = None
        return found

    def _rotated(self) -> bool:
        assert self._file is not None  # noqa: S101 - asked only while it is open
        try:
            return self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return True
