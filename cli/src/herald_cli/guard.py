"""A tiny process that outlives a killed Herald by one moment and takes with it whatever is left.

The kernel ends our children when we die, but not theirs: Triton's model processes would stay, with their memory.
The guard reads orders from a pipe; when the pipe closes without a farewell, its other end was killed, and the guard
kills every session it was told of and removes their files from shared memory.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from herald_cli import processes

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the kernel keeps it, not a file of ours
PREFIX = "herald-"  # of everything that Herald's children keep there


def sweep(litter: str) -> int:
    """Remove the files in shared memory that begin with `litter`; their number. Not while their owner runs."""
    if not litter.startswith(PREFIX):
        return 0
    left = [path for path in SHARED_MEMORY.glob(f"{litter}*") if path.is_file()]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def guard(orders: Iterable[str]) -> None:
    """Follow orders until they end: `watch PID STARTED [LITTER]`, `forget PID`, `farewell`."""
    watched: dict[int, tuple[processes.Process, str]] = {}
    for order in orders:
        match order.split():
            case ["watch", pid, started, *litter]:
                watched[int(pid)] = (processes.Process(int(pid), int(started)), "".join(litter))
            case ["forget", pid]:
                watched.pop(int(pid), None)
            case ["farewell"]:
                return
    end(watched.values())


def end(
    watched: Iterable[tuple[processes.Process, str]], ours: Callable[[processes.Process], bool] = lambda _: True
) -> int:
    """Kill the sessions that these processes lead or led, then remove their litter; the number of processes.

    `ours` has the last word on each: needed when the leaders have long been gone.
    """
    watched = list(watched)
    found = [member for leader, _ in watched for member in processes.session(leader) if ours(member)]
    processes.kill(found)
    processes.wait_gone(found, 10)
    for _, litter in watched:
        sweep(litter)
    return len(found)


if __name__ == "__main__":
    guard(sys.stdin)
