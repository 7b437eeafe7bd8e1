"""Processes under measurement: started on a core of their own, looked at through /proc, always ended.

CPU comes from the kernel's own account (utime + stime of /proc/PID/stat, all threads), so it needs no help from
the process and costs it nothing.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


_RESULT = "result: "


def report(value: object) -> None:
    """The other side of `Child.result`: what a measuring process hands back to who started it."""
    print(_RESULT + json.dumps(value), flush=True)


class Failed(Exception):
    """A process under measurement did not start or ended; the text holds its last lines."""


class Child:
    """One process. It is killed when we die, and its output goes to `log`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        core: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        piped: bool = False,
        stop_signal: signal.Signals = signal.SIGTERM,
        ended: Callable[[], None] | None = None,
    ) -> None:
        """`ended` is called once, after it was stopped. `env` is the whole environment; none: ours."""
        self.name = name
        self._log = log
        self._stop_signal = stop_signal
        self._ended = ended
        self.started = time.monotonic()

        def prepare() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if core is not None:
                os.sched_setaffinity(0, {core})

        with log.open("ab") as out:
            self.process = subprocess.Popen(
                list(argv),
                env=None if env is None else dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else out,
                stderr=out,
                text=True,
                # Ctrl-C reaches us alone: what is measured is then stopped in order.
                start_new_session=True,
                preexec_fn=prepare,
            )
        self.pid = self.process.pid

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = 30) -> float:
        """Seconds from its start until `ready`. Raises Failed."""
        deadline = self.started + seconds
        while not ready():
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}: {self.last_lines()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} was not ready within {seconds:g} s: {self.last_lines()}")
            time.sleep(0.01)
        return time.monotonic() - self.started

    def line(self) -> str:
        """The next line of its standard output. Raises Failed when there is none any more."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        if not text:
            self.process.wait(10)
            raise Failed(f"{self.name} ended with {self.process.returncode}: {self.last_lines()}")
        return text

    def result(self) -> str:
        """What it said with `report`; other lines are passed over. Raises Failed."""
        while not (text := self.line()).startswith(_RESULT):
            continue
        return text.removeprefix(_RESULT)

    def tell(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def last_lines(self, count: int = 6) -> str:
        return " | ".join(self._log.read_text(errors="replace").splitlines()[-count:])

    def stop(self, seconds: float = 15) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self._stop_signal)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        if self._ended is not None:
            self._ended()
            self._ended = None
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def resident_bytes(self) -> int:
        return resident_bytes(self.pid)


def _stat(pid: int) -> list[str]:
    # The command's name is in brackets and may hold anything; the fields begin behind the last one.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far, not of its children. Resolution: one tick (10 ms)."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def tree(pid: int) -> list[int]:
    """A process and all that descend from it, as of now."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # It may end while we look.
            with contextlib.suppress(OSError, IndexError):
                parents.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting.extend(parents.get(each, []))
    return found


def tree_cpu_seconds(pid: int) -> float:
    """CPU of a process and of all its descendants, those included that have ended and were waited for."""
    ticks = 0
    for each in tree(pid):
        with contextlib.suppress(OSError, IndexError):
            ticks += sum(int(field) for field in _stat(each)[11:15])
    return ticks / _TICKS


def resident_bytes(pid: int) -> int:
    """Resident set: the pages of the process that are in memory, shared ones included (/proc/PID/smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise Failed(f"no Rss in /proc/{pid}/smaps_rollup")
