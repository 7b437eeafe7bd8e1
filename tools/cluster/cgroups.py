"""The control group under which every container of a node runs: how their processes are found whatever happened.

A container outlives containerd and even its shim; its group it cannot leave.
"""

import contextlib
import os
import time
from pathlib import Path

from herald_cli.processes import Process, look_up
from tools.cluster import processes
from tools.cluster.trouble import Trouble

_TABLE = Path("/proc/self/mountinfo")
_EMPTY_WITHIN = 10.0


def name(identity: str) -> str:
    """Of the group of one cluster, as the kubelet is told."""
    return f"/herald-{identity}"


def hierarchies(table: str) -> list[Path]:
    """Where control groups are mounted, by proc_pid_mountinfo(5): one place for v2, one per controller for v1. Pure."""
    found = []
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        if after.split(" ", 1)[0] in ("cgroup", "cgroup2"):
            found.append(Path(before.split()[4]))
    return found


def make(identity: str) -> None:
    """Make the group; the kubelet wants to find it."""
    for root in hierarchies(_TABLE.read_text()):
        group = _group(root, identity)
        offered = root / "cgroup.controllers"
        if offered.exists():
            # v2 hands each controller down by name.
            for controller in offered.read_text().split():
                with contextlib.suppress(OSError):
                    (root / "cgroup.subtree_control").write_text(f"+{controller}\n")
        group.mkdir(exist_ok=True)
        # v1 lets no process into a group that has no processors and no memory to run on.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (root / file).exists() and not offered.exists():
                (group / file).write_text((root / file).read_text())


def clear(identity: str) -> None:
    """SIGKILL everything in the group, then remove it. Raises Trouble."""
    groups = [_group(root, identity) for root in hierarchies(_TABLE.read_text())]
    deadline = time.monotonic() + _EMPTY_WITHIN
    while any(group.exists() for group in groups):
        processes.end(_inside(groups))
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                # Busy for a moment after its last process has gone.
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        if time.monotonic() > deadline:
            raise Trouble(f"control group {name(identity)} cannot be removed")
        time.sleep(0.02)


def _group(root: Path, identity: str) -> Path:
    return root / name(identity).lstrip("/")


def _inside(groups: list[Path]) -> list[Process]:
    pids: set[int] = set()
    for group in groups:
        for file in group.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                pids.update(int(pid) for pid in file.read_text().split())
    return [found for pid in pids if (found := look_up(pid)) is not None]
