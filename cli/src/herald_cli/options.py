"""Options that several subcommands share, so that they are spelled and explained once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import BaseModel

from herald_cli.state import DEFAULT, StateFolder

F = TypeVar("F", bound=Callable[..., Any])

JSON_VERSION = 1


def _folder(_: click.Context, __: click.Parameter, value: Path) -> StateFolder:
    return StateFolder(value)


def state(function: F) -> F:
    """Adds `folder`, a StateFolder."""
    return click.option(
        "--state",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT,
        show_default=True,
        envvar="HERALD_STATE",
        callback=_folder,
        help="Folder that holds everything this Herald keeps.",
    )(function)


def as_json(function: F) -> F:
    """Adds `json_`, whether the answer is for a program."""
    return click.option("--json", "json_", is_flag=True, help="Print JSON for scripts (docs/cli.md).")(function)


def emit(value: dict[str, Any]) -> None:
    """Print one JSON document. Every document of Herald's begins with its format's version."""
    click.echo(json.dumps({"version": JSON_VERSION, **value}, ensure_ascii=False, default=_plain))


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)
