"""Options that several subcommands share, so that they are spelled and explained once."""

import json
import shutil
import sys
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


def program() -> str:
    """How this very command can be typed where we are: by its bare name only if the shell would find it."""
    script = Path(sys.executable).with_name("herald")
    found = shutil.which("herald")
    if found is not None and Path(found).resolve() == script.resolve():
        return "herald"
    here = Path.cwd()
    return str(script.relative_to(here)) if script.is_relative_to(here) else str(script)


def again(folder: StateFolder) -> str:
    """What to add to a command so that it means the same folder: nothing where that is the default."""
    return "" if folder.root == StateFolder(DEFAULT).root else f" --state {folder.root}"


def emit(value: dict[str, Any]) -> None:
    """Print one JSON document. Every document of Herald's begins with its format's version."""
    click.echo(json.dumps({"version": JSON_VERSION, **value}, ensure_ascii=False, default=_plain))


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)
