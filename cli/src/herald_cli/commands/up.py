"""`herald up`: the whole of Herald on this machine, from one file."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click

from herald_cli import deployment_file, options, progress
from herald_cli.deployment_file import DeploymentFile
from herald_cli.state import Snapshot, StateFolder
from herald_cli.style import Style, of
from herald_cli.terminal import Progress
from herald_contracts.errors import PermanentError

_LOOK_SECONDS = 0.1


class Failed(PermanentError):
    """The Herald that was started in the background did not come up."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@click.command("up")
@click.option("-f", "--file", type=click.Path(path_type=Path), required=True, help="AgentDeployment, as YAML.")
@click.option("-d", "--detach", is_flag=True, help="Return once everything is ready; `herald down` stops it.")
@click.option("--supervise", is_flag=True, hidden=True, help="What --detach starts in the background.")
@options.state
def command(file: Path, detach: bool, supervise: bool, folder: StateFolder) -> None:
    """Start NATS, PostgreSQL, Milvus, Triton, the gateway and the workers, and keep them running.

    Without --detach it stays in the foreground, and Ctrl-C stops everything in order.
    """
    read = deployment_file.read(file)
    folder.create()
    folder.refuse_second(file, read.digest)
    if supervise:
        _run(read, folder, None)
    elif detach:
        try:
            snapshot = start_detached(read, folder)
        except Failed as e:
            click.echo(str(e), err=True)
            raise SystemExit(e.code) from None
        _tell(snapshot, folder, of(sys.stderr), detached=True)
    else:
        _introduce(read)
        _run(read, folder, _Foreground(folder))


def _run(read: DeploymentFile, folder: StateFolder, shown: "_Foreground | None") -> None:
    """Run in this process until a signal asks to stop."""
    # Late: whoever only waits for a detached Herald needs none of it.
    from herald_cli import local

    async def main() -> None:
        prepared = local.prepare(read, folder)
        ticker = asyncio.create_task(shown.tick()) if shown is not None else None
        try:
            await local.run(read, folder, prepared, (shown.changed,) if shown is not None else ())
        finally:
            if ticker is not None:
                ticker.cancel()

    with folder.lock():
        asyncio.run(main())


def start_detached(read: DeploymentFile, folder: StateFolder) -> Snapshot:
    """Start a Herald that outlives us and wait until it is ready, showing how far it is. Raises Failed."""
    _introduce(read)
    output = folder.logs / "herald.out"
    with output.open("wb") as out:
        child = subprocess.Popen(  # noqa: S603 - ourselves
            [
                sys.executable,
                "-m",
                "herald_cli",
                "up",
                "--supervise",
                "-f",
                str(read.path),
                "--state",
                str(folder.root),
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    shown = Progress()
    try:
        while child.poll() is None:
            snapshot = folder.snapshot()
            if snapshot is not None and snapshot.pid == child.pid:
                shown.show(snapshot)
                if snapshot.phase == "running":
                    return snapshot
            time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        # Whoever interrupts the waiting does not want what it waits for.
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)
        raise
    finally:
        shown.close()
    raise Failed(
        output.read_text(errors="replace").strip() or f"it ended with exit code {child.returncode}", _code(child)
    )


def _code(child: "subprocess.Popen[bytes]") -> int:
    return child.returncode if child.returncode and child.returncode > 0 else 1


def _introduce(read: DeploymentFile) -> None:
    metadata = read.bundle.deployment.metadata
    style = of(sys.stderr)
    click.echo(f"Starting {style(metadata.name, 'bold')} from {read.path.name}", err=True)


class _Foreground:
    """Shows what happens while Herald runs in this terminal."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._style = of(sys.stderr)
        self._progress = Progress()
        self._latest: Snapshot | None = None

    def changed(self, snapshot: Snapshot) -> None:
        before, self._latest = self._latest, snapshot
        entered = before is None or before.phase != snapshot.phase
        if snapshot.phase == "starting":
            self._progress.show(snapshot)
        elif snapshot.phase == "running" and entered:
            self._progress.show(snapshot)
            self._progress.close()
            _tell(snapshot, self._folder, self._style, detached=False)
        elif snapshot.phase == "running":
            for line in progress.news(before, snapshot, self._progress.elapsed):
                click.echo(line, err=True)
        elif snapshot.phase == "stopping":
            if entered:
                self._progress.close()
                click.echo("\nStopping; Ctrl-C again does not wait", err=True)
            self._progress.show(snapshot)
        elif snapshot.phase == "stopped":
            self._progress.close()
            click.echo("Stopped. Nothing that was accepted is lost: it goes on at the next `herald up`.", err=True)

    async def tick(self) -> None:
        """Redraw in between, so that a terminal shows that time passes."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if sys.stderr.isatty() and self._latest is not None and self._latest.phase in ("starting", "stopping"):
                self._progress.show(self._latest)


def _tell(snapshot: Snapshot, folder: StateFolder, style: Style, *, detached: bool) -> None:
    """What to do next, once it runs."""
    state, herald = options.again(folder), options.program()
    for note in snapshot.notes:
        click.echo(f"  {style('·', 'yellow')} {note}", err=True)
    rows = [("gateway", snapshot.gateway)]
    if snapshot.web:
        rows.insert(0, ("chat page", style(snapshot.web, "bold", "cyan")))
    rows.append(("look", f"{herald} status{state}"))
    rows.append(("stop", f"{herald} down{state}" if detached else "Ctrl-C"))
    click.echo(f"\n{style('Herald is ready.', 'green', 'bold')}", err=True)
    for name, value in rows:
        click.echo(f"  {name:<10} {value}", err=True)
