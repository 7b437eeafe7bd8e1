"""Starting programs that outlive us, and finding exactly those again.

Whoever started them may be killed at any moment, between any two instructions. So a program writes its own record
(pid, start time, boot) before it becomes itself, and holds the state folder's lock until it has: who takes the lock
afterwards sees every process, and a pid that the kernel has given to somebody else is never taken for ours.

What our programs start in turn (containerd's shims), and what is left when somebody deletes the state folder of a
running cluster, has no record. Those carry a mark in their environment that names the folder.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from herald_cli.processes import Process, kill, look_up, wait_gone
from tools.cluster.trouble import Trouble

MARK = "HERALD_CLUSTER"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SHELL = "/bin/sh"
# $1 is the record. The lock is standard input, and so it is let go in the moment the program takes over.
_LAUNCH = f"""
read -r boot <{_BOOT}
read -r stat </proc/$$/stat
echo "$boot $stat" >"$1" || exit
shift
cd /
exec "$@" </dev/null
"""
_KILLED_WITHIN = 10.0
_ENOUGH = 0.03  # seconds between two looks
_LAST_LINES = 12


@dataclass(frozen=True, slots=True)
class Program:
    """What to start. `environment` is added to a small fixed one: nothing of the caller's leaks into a server."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class Died(Trouble):
    """A program ended while it was waited for."""


class Processes:
    """The programs of one state folder, by name. Each leads a session of its own, away from our terminal."""

    def __init__(self, root: Path, records: Path, logs: Path) -> None:
        self._mark = str(root)
        self._records = records
        self._logs = logs

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def start(self, program: Program, lock: int) -> None:
        """Start it; its record follows in a moment. `lock` is an open file with the state folder's lock.

        Its log is continued. Whether it stays up, `wait` will see.
        """
        self._records.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        record = self._records / program.name
        record.unlink(missing_ok=True)
        path = os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        with self.log(program.name).open("ab") as log:
            os.posix_spawn(
                _SHELL,
                [_SHELL, "-c", _LAUNCH, _SHELL, str(record), *program.argv],
                {"PATH": path, "HOME": os.environ.get("HOME", "/"), **program.environment, MARK: self._mark},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, lock, 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
                setsid=True,
                # A caller that ignores an interrupt, as a background job of a script does, is not imitated.
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE],
            )

    def recorded(self) -> dict[str, Process]:
        """Every process that was started here and is not known to have gone, alive or not."""
        found = {}
        for record in sorted(self._records.glob("*")):
            process = parse_record(record.read_text(), _BOOT.read_text().strip())
            if process is not None:
                found[record.name] = process
        return found

    def alive(self, name: str) -> bool:
        process = self.recorded().get(name)
        return process is not None and process.alive()

    def check(self, names: Iterable[str]) -> None:
        """Raises Died for the first of these that has ended."""
        recorded = self.recorded()
        for name in names:
            if name in recorded and not recorded[name].alive():
                raise self.died(name)

    def wait(self, what: str, ready: Callable[[], bool], names: Iterable[str], within: float = 90.0) -> None:
        """Until it is ready. Raises Died as soon as one of `names` ends, Trouble after a long while."""
        wanted, deadline = tuple(names), time.monotonic() + within
        while not ready():
            self.check(wanted)
            if time.monotonic() > deadline:
                raise Trouble(f"{what}: not ready after {within:g} s", f"read the logs: ls {self._logs}")
            time.sleep(_ENOUGH)

    def died(self, name: str) -> Died:
        log = self.log(name)
        lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if log.exists() else []
        return Died(
            "\n".join([f"{name} ended:", *(f"    {line[:300]}" for line in lines)]), f"read all of it: less {log}"
        )

    def kill(self, names: Iterable[str]) -> None:
        """SIGKILL each, wait until it has gone, forget it. Unknown names are no error; what it started stays."""
        recorded = self.recorded()
        wanted = {name: recorded[name] for name in names if name in recorded}
        end(wanted.values())
        for name, process in wanted.items():
            reap(process)
            (self._records / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """SIGKILL whatever else carries this folder's mark."""
        end(marked(self._mark))

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one program, if it is there: SIGSTOP freezes it, SIGCONT wakes it."""
        process = self.recorded().get(name)
        if process is not None:
            process.send(number)


def parse_record(text: str, boot: str) -> Process | None:
    """What a record says: the boot's id and a line of /proc/<pid>/stat. None for another boot or a torn record."""
    recorded_boot, _, stat = text.strip().partition(" ")
    pid, _, rest = stat.partition(" ")
    fields = rest.rpartition(")")[2].split()
    if recorded_boot != boot or not pid.isdigit() or len(fields) < 20:
        return None
    return Process(int(pid), int(fields[19]))


def marked(mark: str) -> list[Process]:
    """Processes of this user (all, for root) that were started with this mark, by us or by what we started."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            # Not ours to read, or gone meanwhile: not ours to end either.
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0") and (process := look_up(int(entry.name))):
                    found.append(process)
    return found


def end(processes: Iterable[Process]) -> None:
    """SIGKILL all of them and wait until they have gone. Raises Trouble for one that even this does not end."""
    processes = list(processes)
    kill(processes)
    left = wait_gone(processes, _KILLED_WITHIN)
    if left:
        raise Trouble(f"still there {_KILLED_WITHIN:g} s after SIGKILL: pid {', '.join(str(p.pid) for p in left)}")


def reap(process: Process) -> None:
    """Take the exit status of a child of ours, so that no zombie stays; of others init does."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
