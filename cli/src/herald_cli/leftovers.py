"""What an earlier Herald may have left when it was killed together with its guard: ended before a new one starts."""

import contextlib
import os
from pathlib import Path

from herald_cli import guard
from herald_cli.processes import Process
from herald_cli.state import Choices, Snapshot


def clean(snapshot: Snapshot | None, choices: Choices, root: Path) -> int:
    """End what the last run's notes name and that still lives; remove its shared memory. The number ended.

    Only while holding the lock of the state folder `root`: nothing that is in use is in those notes then.
    """
    watched = [
        (component.process, component.litter)
        for component in (snapshot.components if snapshot is not None else ())
        if component.process is not None
    ]
    # The notes may be old, and the machine may have started anew since: a number in them may be somebody else's now.
    ended = guard.end(watched, lambda process: works_in(process, root))
    guard.sweep(litter(choices))
    return ended


def works_in(process: Process, root: Path) -> bool:
    """Whether a process was started with a path below `root`, or has its working folder there."""
    home = Path("/proc", str(process.pid))
    with contextlib.suppress(OSError):
        if os.fsencode(f"{root}/") in (home / "cmdline").read_bytes():
            return True
        return (home / "cwd").readlink().is_relative_to(root)
    return False


def litter(choices: Choices) -> str:
    """How the files of this state folder's parts in /dev/shm begin."""
    return f"{guard.PREFIX}{choices.id}-"
