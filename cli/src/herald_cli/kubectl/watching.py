"""Showing something that changes: redrawn on a terminal, printed anew elsewhere, and only when it has changed."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from herald_cli import options


class Screen:
    """`again`: more is to come."""

    def __init__(self, again: bool) -> None:
        self._again = again
        self._shown: object = None

    def show(self, lines: Sequence[str], state: object) -> None:
        """`state` is what counts as changed; ages in the lines grow by themselves, which only a terminal is shown."""
        if self._again and sys.stdout.isatty():
            click.clear()
        elif not self._new(state):
            return
        for line in lines:
            click.echo(line)
        sys.stdout.flush()

    def document(self, value: dict[str, Any]) -> None:
        if self._new(value):
            options.emit(value)
            sys.stdout.flush()

    def _new(self, value: object) -> bool:
        if value == self._shown:
            return False
        self._shown = value
        return True
