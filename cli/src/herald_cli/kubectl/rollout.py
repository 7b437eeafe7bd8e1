"""`kubectl herald rollout`: how a new revision takes over, and what a person may say about it.

What is asked for is an annotation, which the operator takes off once it has done it: nothing here changes the spec,
so whoever keeps it in git stays right.
"""

import asyncio
import functools
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import click

from herald_cli import options
from herald_cli.kubectl import deployment as deployments
from herald_cli.kubectl import revisions, status
from herald_cli.kubectl.deployment import Deployment
from herald_cli.kubectl.revisions import Progress
from herald_cli.kubectl.target import F, Target, target
from herald_cli.kubectl.watching import Screen
from herald_cli.rim import EXIT_FAILED, EXIT_TEMPORARY
from herald_cli.style import Style, of, printable, table
from herald_contracts.errors import TemporaryError

_LOOK_SECONDS = 0.5
_PREFIX = "herald.dev/"
_EXITS = {"done": 0, "failed": EXIT_FAILED, "under way": EXIT_TEMPORARY, "waiting": EXIT_TEMPORARY}
_SIGNS = {"done": ("✓", "green"), "failed": ("✗", "red"), "under way": ("…", "yellow"), "waiting": ("!", "yellow")}


class NotTaken(TemporaryError):
    """The operator has not done within a while what was asked for; it will when it can."""


@click.group("rollout")
def command() -> None:
    """How a new revision takes over: see it, promote it, give it up, go back."""


@command.command("status")
@click.option("-w", "--watch", is_flag=True, help="Go on until it is done or has failed.")
@click.option("--timeout", type=click.FloatRange(0), default=0, metavar="SECONDS", help="Of --watch; 0: no limit.")
@options.as_json
@target
def status_(watch: bool, timeout: float, json_: bool, target: Target) -> None:
    """Show how far the rollout of the newest spec is.

    The exit code is 0 when it is done, 1 when it has failed, 75 while it is under way or waits for a person.
    """
    screen = Screen(watch)

    async def show() -> Progress:
        from herald_cli.kubectl.api import connect

        async with connect(target) as api:
            deployment = await deployments.choose(api, target)
            while True:
                found = revisions.progress(deployment)
                if json_:
                    screen.document(_report(deployment, found))
                else:
                    screen.show([_line(deployment, found, of(sys.stdout))], found)
                if not watch or found.state in ("done", "failed"):
                    return found
                await asyncio.sleep(_LOOK_SECONDS)
                deployment = await deployments.again(api, deployment)

    async def bounded() -> Progress:
        try:
            async with asyncio.timeout(timeout or None):
                return await show()
        except TimeoutError:
            raise NotTaken(
                f"not done within {timeout:g} s; look again with `{target.typed('rollout status')}`"
            ) from None

    raise SystemExit(_EXITS[asyncio.run(bounded()).state])


@command.command("history")
@options.as_json
@target
def history(json_: bool, target: Target) -> None:
    """List the revisions that are kept, newest first, and what became of each."""

    async def look() -> Deployment:
        from herald_cli.kubectl.api import connect

        async with connect(target) as api:
            return await deployments.choose(api, target)

    found = asyncio.run(look())
    if json_:
        options.emit({"active": found.active or None, "history": [status.revision(e) for e in found.listed("history")]})
        return
    for line in history_lines(found, of(sys.stdout)):
        click.echo(line)


def history_lines(deployment: Deployment, style: Style) -> list[str]:
    """What a person sees. Pure."""
    entries = deployment.listed("history")
    if not entries:
        return [style("! no revision yet: the operator has not begun", "yellow")]
    heading, *rest = table(revisions.cells(deployment))
    out = [style(heading, "dim")]
    for text, entry in zip(rest, entries, strict=True):
        out.append(style(text, "red") if entry.get("outcome") == "Failed" else text)
        if entry.get("message"):
            out.append(f"    {style(printable(str(entry['message'])), 'yellow')}")
    return out


def _report(deployment: Deployment, found: Progress) -> dict[str, object]:
    return {
        "namespace": deployment.namespace,
        "name": deployment.name,
        "state": found.state,
        "message": found.text,
        "active": deployment.active or None,
        "candidate": deployment.candidate or None,
    }


def _line(deployment: Deployment, found: Progress, style: Style) -> str:
    sign, colour = _SIGNS[found.state]
    return f"{style(sign, colour)} {deployment.namespace}/{deployment.name} {found.state}: {printable(found.text)}"


def _waits(function: F) -> F:
    """Adds `wait`, in seconds; 0: not at all."""

    @functools.wraps(function)
    def inner(*, timeout: float, no_wait: bool, **values: Any) -> Any:
        return function(wait=0.0 if no_wait else timeout, **values)

    wrapped: Any = click.option("--no-wait", is_flag=True, help="Ask, and do not wait for the operator.")(inner)
    kind = click.FloatRange(0)
    found: F = click.option("--timeout", type=kind, default=60, show_default=True, help="Seconds to wait for it.")(
        wrapped
    )
    return found


@command.command("promote")
@_waits
@target
def promote(wait: float, target: Target) -> None:
    """Let the candidate take over, where spec.rollout.autoPromote is false."""
    _ask(target, "promote", lambda _: _now(), wait)


@command.command("abort")
@_waits
@target
def abort(wait: float, target: Target) -> None:
    """Give the candidate up: the active revision goes on answering, until the spec changes or you say retry."""
    _ask(target, "abort", lambda _: _now(), wait)


@command.command("retry")
@_waits
@target
def retry(wait: float, target: Target) -> None:
    """Try the revision that was given up once more."""
    _ask(target, "retry", lambda _: _now(), wait)


@command.command("undo")
@click.option("--to", "revision", metavar="REVISION", help="One of `rollout history`; default: the last good one.")
@_waits
@target
def undo(revision: str | None, wait: float, target: Target) -> None:
    """Go back to an earlier revision, which begins to answer once its workers are ready.

    The spec stays as it is: the next change of it, or `rollout retry`, goes forward again.
    """

    def back_to(found: Deployment) -> str:
        return revisions.chosen(found, revision) if revision is not None else revisions.previous(found)

    _ask(target, "rollback-to", back_to, wait)


@command.command("restart")
@_waits
@target
def restart(wait: float, target: Target) -> None:
    """Replace the pods of gateway and workers one by one, without a new revision."""

    async def change() -> str:
        from herald_cli.kubectl.api import connect

        async with connect(target) as api:
            found = await deployments.choose(api, target)
            revisions.refuse(found, "restart")
            path = f"/apis/apps/v1/namespaces/{found.namespace}/deployments/{found.owner.child('gateway')}"

            async def template() -> object:
                body = await api.get(path)
                return body["spec"]["template"]["metadata"].get("annotations") if body is not None else None

            before = await template()
            await api.patch(found.path, {"metadata": {"annotations": {f"{_PREFIX}restart": _now()}}})

            async def taken() -> bool:
                return await template() != before

            await _until(taken, wait, target)
            return found.name

    name = asyncio.run(change())
    click.echo(f"{name}: {'pods are being replaced' if wait else 'restart asked for'}")
    click.echo(f"follow with `{target.typed('status --watch')}`")


def _ask(target: Target, verb: str, value: Callable[[Deployment], str], wait: float) -> None:
    """Write the annotation, and wait until the operator has taken it off."""

    async def change() -> tuple[Deployment, str]:
        from herald_cli.kubectl.api import connect

        async with connect(target) as api:
            found = await deployments.choose(api, target)
            revisions.refuse(found, verb)
            wanted = value(found)
            await api.patch(found.path, {"metadata": {"annotations": {f"{_PREFIX}{verb}": wanted}}})

            async def taken() -> bool:
                return f"{_PREFIX}{verb}" not in (await deployments.again(api, found)).annotations

            await _until(taken, wait, target)
            return found, wanted

    found, wanted = asyncio.run(change())
    what = f"going back to {wanted}" if verb == "rollback-to" else verb
    click.echo(f"{found.name}: {what} " + ("asked for" if not wait else "has begun"))
    click.echo(f"follow with `{target.typed('rollout status --watch')}`")


async def _until(taken: Callable[[], Awaitable[bool]], wait: float, target: Target) -> None:
    """Raises NotTaken after `wait` seconds; 0 does not wait."""
    deadline = time.monotonic() + wait
    while wait and not await taken():
        if time.monotonic() > deadline:
            raise NotTaken(
                f"asked for, but the operator has not begun within {wait:g} s; it will as soon as it can\n"
                f"  is it running? `{target.typed('doctor')}`"
            )
        await asyncio.sleep(_LOOK_SECONDS)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
