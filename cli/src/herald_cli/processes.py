"""Processes of this machine by number, read from /proc: is it still the one we started, and what are its children?

A pid alone proves nothing, because the kernel reuses it; pid and start time together do.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """`started` is in clock ticks since boot, as proc(5) gives it."""

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether it still runs. A zombie does not: it only waits for somebody to read its exit status.

        While any of its threads is left it does, for its files and ports are closed by the last of them.
        """
        fields = _stat(self.pid)
        return fields is not None and int(fields[19]) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it is still the same process."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def look_up(pid: int) -> Process | None:
    """The process that has this pid now."""
    fields = _stat(pid)
    return Process(pid, int(fields[19])) if fields is not None else None


def tree(root: Process) -> tuple[Process, ...]:
    """`root` and all below it, parents first. Children that left for another session are among them."""
    children: dict[int, list[Process]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields is not None:
                children.setdefault(int(fields[1]), []).append(Process(int(entry.name), int(fields[19])))
    found, queue = [root] if root.alive() else [], [root]
    while queue:
        below = children.get(queue.pop().pid, [])
        found.extend(below)
        queue.extend(below)
    return tuple(found)


def session(leader: Process) -> tuple[Process, ...]:
    """All processes of the session that `leader` leads, or led before it died, itself included.

    The kernel does not give out a pid again while a session is named after it; if somebody else has that pid now,
    the session is gone.
    """
    now = look_up(leader.pid)
    if now is not None and now.started != leader.started:
        return ()
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields is not None and int(fields[3]) == leader.pid:
                found.append(Process(int(entry.name), int(fields[19])))
    return tuple(found)


def kill(processes: Iterable[Process]) -> None:
    """SIGKILL each of them that is still there."""
    for process in processes:
        process.send(signal.SIGKILL)


def wait_gone(processes: Iterable[Process], seconds: float) -> tuple[Process, ...]:
    """Wait for them to end; those that have not after `seconds`."""
    left = tuple(p for p in processes if p.alive())
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = tuple(p for p in left if p.alive())
    return left


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name, which may itself contain spaces and brackets.

    None for one that is not there, and for a zombie without threads. A first thread that has ended is shown as a
    zombie too; field 20 (here 17) of proc(5) tells how many there are.
    """
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields if fields[0] != "Z" or int(fields[17]) > 1 else None
