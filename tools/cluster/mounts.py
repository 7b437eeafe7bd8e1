"""What is mounted below a folder, and how it is mounted and unmounted."""

import re
import subprocess
from pathlib import Path

from tools.cluster.trouble import Trouble

_TABLE = Path("/proc/self/mountinfo")


def below(*folders: Path) -> list[Path]:
    """Mount points at or below these folders, in the order to unmount them: the latest first."""
    return [path for path in reversed(points(_TABLE.read_text())) if any(path.is_relative_to(f) for f in folders)]


def points(table: str) -> list[Path]:
    """Mount points of a table as proc_pid_mountinfo(5) gives it, where blanks and the like are in octal. Pure."""
    fields = (line.split() for line in table.splitlines())
    return [Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field[4])) for field in fields if len(field) > 4]


def bind(source: Path, target: Path) -> None:
    """Let a folder be found at another place too; both are made."""
    for path in (source, target):
        path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "--bind", "--", source, target], capture_output=True, text=True)
    if done.returncode != 0:
        raise Trouble(f"{target} cannot be mounted: {done.stderr.strip()}")


def unmount(*folders: Path) -> None:
    """Unmount everything at or below these folders. What is busy is taken out of the tree all the same (lazily)."""
    for options in ([], ["--lazy"]):
        there = below(*folders)
        if there:
            subprocess.run(["umount", *options, "--", *there], capture_output=True)
    left = below(*folders)
    if left:
        raise Trouble(f"{left[0]} could not be unmounted", f"see who uses it: fuser -vm {left[0]}")
