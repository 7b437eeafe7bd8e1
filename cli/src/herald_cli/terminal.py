"""Showing progress: redraws a list on a terminal, prints lines anywhere else."""

import shutil
import sys
import time
from datetime import UTC, datetime
from typing import IO

from herald_cli import progress, style
from herald_cli.state import Snapshot


class Progress:
    """Call `show` with every new snapshot and now and then in between, and `close` at the end.

    `known` is what needs no line any more. Everything goes to standard error: standard output is for results.
    """

    def __init__(self, out: IO[str] | None = None, *, known: Snapshot | None = None) -> None:
        self._out = out if out is not None else sys.stderr
        self._style = style.of(self._out)
        self._live = self._out.isatty()
        self._begun = time.monotonic()
        self._before = known
        self._drawn = 0
        self._tick = 0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def show(self, snapshot: Snapshot) -> None:
        if self._live:
            self._draw(snapshot)
        else:
            for line in progress.news(self._before, snapshot, self.elapsed):
                print(line, file=self._out, flush=True)
        self._before = snapshot

    def close(self) -> None:
        """Leave the list as it stands; what is printed next comes below it."""
        self._drawn = 0

    def _draw(self, snapshot: Snapshot) -> None:
        size = shutil.get_terminal_size()
        self._tick += 1
        lines = progress.frame(snapshot, datetime.now(UTC), self._tick, self._style, size.columns)[: size.lines - 2]
        # Up over what was drawn, then each line followed by "erase to its end", then erase all below.
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        print(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", end="", file=self._out, flush=True)
        self._drawn = len(lines)
