"""`kubectl herald dead-letters`: what failed for good, why, and another chance for it."""

import asyncio
from typing import Any

import click

from herald_agent.ask import LETTERS
from herald_agent.store.dead_letters import Letter
from herald_cli import options
from herald_cli.commands import dead_letters as local
from herald_cli.kubectl import deployment as deployments
from herald_cli.kubectl.target import Target, target_by_option

_HERALD = "kubectl herald"


@click.group("dead-letters")
def command() -> None:
    """Messages that failed for good, and replies that a platform refused."""


@command.command("list")
@click.option("--all", "replayed", is_flag=True, help="Also those that were replayed.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most rows.")
@options.as_json
@target_by_option
def list_(replayed: bool, limit: int, json_: bool, target: Target) -> None:
    """List them, newest first."""
    more = ["--all"] if replayed else []
    local.show_list(_ask(target, "letters", "--limit", str(limit), *more), json_, herald=_HERALD)


@command.command("show")
@click.argument("letter", type=int)
@options.as_json
@target_by_option
def show(letter: int, json_: bool, target: Target) -> None:
    """Show one, with its message."""
    found = _ask(target, "letters", "--letter", str(letter))
    if not found:
        raise local.NoSuchLetter(f"there is no dead letter {letter}; see `{target.typed('dead-letters list --all')}`")
    local.show_one(found[0], json_)


@command.command("replay")
@click.argument("letters", type=int, nargs=-1, required=True)
@options.as_json
@target_by_option
def replay(letters: tuple[int, ...], json_: bool, target: Target) -> None:
    """Give each of LETTERS another chance, exactly once; what fails again is a new letter."""
    local.show_replayed(_ask(target, "replay", *map(str, letters)), json_, herald=_HERALD)


def _ask(target: Target, *question: str) -> list[Letter]:
    """All letters of all answers. One that cannot be replayed ends it, after those before it were."""

    async def ask() -> list[Any]:
        from herald_cli.kubectl import pods
        from herald_cli.kubectl.api import connect

        async with connect(target) as api:
            found = await deployments.choose(api, target)
            return [letter async for value in pods.ask(api, found, *question) for letter in value]

    return LETTERS.validate_python(asyncio.run(ask()))
