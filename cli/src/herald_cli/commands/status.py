"""`herald status`: each part, whether it is ready, since when, how often it died and why."""

import shutil
import sys
from datetime import UTC, datetime

import click

from herald_cli import options
from herald_cli.state import Component, Snapshot, StateFolder
from herald_cli.style import Style, of, printable, seconds, table

_GOOD = ("ready", "stopped")
_NO_ROOM = 2**20  # bytes


@click.command("status")
@options.as_json
@options.state
def command(json_: bool, folder: StateFolder) -> None:
    """Show every part of the Herald that runs from this state folder.

    The exit code is 0 when everything is ready, 1 when something is not.
    """
    snapshot = folder.running()
    now = datetime.now(UTC)
    full = shutil.disk_usage(folder.root).free < _NO_ROOM
    if json_:
        options.emit(report(snapshot, now, disk_full=full))
    else:
        for line in lines(snapshot, now, of(sys.stdout)):
            click.echo(line)
        if full:
            click.echo(
                f"\nThe disk of {folder.root} is full, so this may be old, and messages are refused: free some space."
            )
    if full or not all_ready(snapshot):
        raise SystemExit(1)


def all_ready(snapshot: Snapshot) -> bool:
    return snapshot.phase == "running" and all(c.state == "ready" for c in snapshot.components)


def report(snapshot: Snapshot, now: datetime, *, disk_full: bool) -> dict[str, object]:
    """The JSON of `herald status`. Pure. On a full disk the snapshot may be old, and nothing can be accepted."""
    return {
        "namespace": snapshot.namespace,
        "name": snapshot.name,
        "revision": snapshot.revision,
        "phase": snapshot.phase,
        "ready": all_ready(snapshot) and not disk_full,
        "disk_full": disk_full,
        "pid": snapshot.pid,
        "since": snapshot.since.isoformat(),
        "file": snapshot.file,
        "web": snapshot.web or None,
        "gateway": snapshot.gateway,
        "components": [
            {
                "name": c.name,
                "kind": "task" if c.task else "process",
                "state": c.state,
                "ready": c.state == "ready",
                "pid": c.pid,
                "uptime": round(_uptime(c, now), 1) if c.pid and c.since else None,
                "restarts": c.restarts,
                "address": c.address or None,
                "last_error": c.last_error or None,
            }
            for c in snapshot.components
        ],
    }


def lines(snapshot: Snapshot, now: datetime, style: Style) -> list[str]:
    """What a person sees. Pure."""
    sign = style("✓ all ready", "green") if all_ready(snapshot) else style(f"✗ {_whole(snapshot)}", "red")
    up = seconds(max(0.0, (now - snapshot.since).total_seconds()))
    head = f"{style(snapshot.name, 'bold')}  {sign}  up {up}, pid {snapshot.pid}, revision {snapshot.revision}"
    rows = [["", "PART", "STATE", "PID", "UPTIME", "RESTARTS", "ADDRESS"]]
    rows += [
        [
            "✓" if c.state == "ready" else "✗",
            c.name,
            c.state if not c.task else ("done" if c.state == "ready" else c.state),
            str(c.pid or ""),
            seconds(_uptime(c, now)) if c.pid and c.since else "",
            str(c.restarts) if not c.task else "",
            c.address,
        ]
        for c in snapshot.components
    ]
    out = [head, ""]
    for text, component in zip(table(rows), (None, *snapshot.components), strict=True):
        if component is None:
            out.append(style(text, "dim"))
            continue
        out.append(style(text, "red") if component.state not in _GOOD else text)
        if component.last_error:
            out.append(f"     {style('last error:', 'yellow')} {printable(component.last_error)}")
    if snapshot.web:
        out += ["", f"chat page  {style(snapshot.web, 'cyan')}"]
    return out


def _whole(snapshot: Snapshot) -> str:
    if snapshot.phase != "running":
        return snapshot.phase
    return ", ".join(c.name for c in snapshot.components if c.state != "ready") + " not ready"


def _uptime(component: Component, now: datetime) -> float:
    return max(0.0, (now - component.since).total_seconds()) if component.since is not None else 0.0
