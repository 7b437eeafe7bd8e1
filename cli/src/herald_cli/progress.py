"""What a person sees while Herald starts or stops: pure, from snapshots to lines of text.

A terminal gets a list that fills in; a log or a pipe gets one line per thing that happened, with the time it took.
"""

from datetime import datetime

from herald_cli.state import Component, Condition, Snapshot
from herald_cli.style import Style, printable, seconds

_SPIN = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_WHAT = {
    "nats": "messages (NATS JetStream)",
    "postgres": "records (PostgreSQL)",
    "triton": "models (Triton)",
    "milvus": "memory (Milvus)",
    "gateway": "gateway",
    "streams": "streams and consumers",
    "database": "database schema",
}
_WORDS: dict[Condition, str] = {
    "waiting": "waiting",
    "preparing": "preparing",
    "starting": "starting",
    "ready": "ready",
    "unready": "does not answer",
    "restarting": "restarting",
    "refused": "cannot run",
    "failed": "failed",
    "stopping": "stopping",
    "stopped": "stopped",
}
_BAD = frozenset({"unready", "restarting", "refused", "failed"})


def what(component: Component) -> str:
    """A component in plain words."""
    if component.name.startswith("agent-"):
        return f"worker {component.name.removeprefix('agent-')}"
    return _WHAT.get(component.name, component.name)


def frame(snapshot: Snapshot, now: datetime, tick: int, style: Style, width: int = 100) -> list[str]:
    """The whole list as it stands, for a terminal that is drawn again and again."""
    lines = []
    for component in snapshot.components:
        sign, colour = _sign(component.state, tick)
        text = f"{what(component):<27} {_detail(component, now)}"
        lines.append(f"  {style(sign, colour)} {printable(text)[: width - 5]}")
    return lines


def _sign(state: Condition, tick: int) -> tuple[str, str]:
    if state == "ready":
        return "✓", "green"
    if state in _BAD:
        return "✗", "red"
    if state in ("starting", "preparing", "stopping"):
        return _SPIN[tick % len(_SPIN)], "cyan"
    return "·", "dim"


def _detail(component: Component, now: datetime) -> str:
    if component.state == "ready":
        took = f"{seconds(component.seconds)}" if component.seconds is not None else ""
        return f"{took:<8} {component.address}".rstrip()
    if component.state in _BAD and component.last_error:
        return f"{_WORDS[component.state]}: {component.last_error.splitlines()[0]}"
    if component.state == "starting" and component.since is not None and not component.task:
        return f"{_WORDS[component.state]} ({seconds(max(0.0, (now - component.since).total_seconds()))})"
    return _WORDS[component.state]


def news(before: Snapshot | None, after: Snapshot, elapsed: float) -> list[str]:
    """One line for each component that got somewhere since `before`; `elapsed` is seconds since the start."""
    known = {c.name: c for c in before.components} if before is not None else {}
    lines = []
    for component in after.components:
        earlier = known.get(component.name)
        if earlier is not None and earlier.state == component.state and earlier.restarts == component.restarts:
            continue
        if component.state == "ready":
            lines.append(_line(elapsed, component, f"ready {component.address}".rstrip()))
        elif component.state in _BAD:
            lines.append(
                _line(elapsed, component, f"{_WORDS[component.state]}: {component.last_error or 'no reason given'}")
            )
        elif component.state in ("starting", "stopping", "stopped"):
            lines.append(_line(elapsed, component, _WORDS[component.state]))
    return lines


def _line(elapsed: float, component: Component, text: str) -> str:
    return f"[{elapsed:6.1f} s] {component.name:<10} {printable(text.splitlines()[0])}"
