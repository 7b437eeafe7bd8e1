"""`kubectl herald ledger`: the promise, counted in the cluster's database."""

import asyncio
import contextlib

import click

from herald_agent.ask import Ledger
from herald_cli import options
from herald_cli.commands import ledger as local
from herald_cli.kubectl import deployment as deployments
from herald_cli.kubectl.target import Target, target
from herald_contracts.ledger import STATES

_WATCH_SECONDS = 1.0


@click.command("ledger")
@click.option("-w", "--watch", is_flag=True, help="Look again every second.")
@click.option("--messages", is_flag=True, help="One row per message, newest first.")
@click.option("--state-is", type=click.Choice(STATES), help="Only messages in this state.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most rows.")
@options.as_json
@target
def command(watch: bool, messages: bool, state_is: str | None, limit: int, json_: bool, target: Target) -> None:
    """Count what became of every message that deployment NAME has accepted.

    Accepted must equal the sum of all the others; if it ever does not, this command says so and exits with 1. A worker
    is asked by `exec`, because nobody else reaches the database: you need the right to create and get pods/exec.
    """
    wanted = messages or state_is is not None
    question = ["ledger", *(["--limit", str(limit)] if wanted else []), *(["--state-is", state_is] if state_is else [])]
    if watch:
        question += ["--every", f"{_WATCH_SECONDS:g}"]

    async def look() -> bool:
        from herald_cli.kubectl import pods
        from herald_cli.kubectl.api import connect

        balanced = True
        async with connect(target) as api:
            found = await deployments.choose(api, target)
            async with contextlib.aclosing(pods.ask(api, found, *question)) as answers:
                async for value in answers:
                    seen = Ledger.model_validate(value)
                    local.show(seen, messages=wanted, json_=json_, clear=watch, herald="kubectl herald")
                    balanced = seen.counts.balanced
        return balanced

    if not asyncio.run(look()):
        raise SystemExit(1)
