"""Starting a Program as a child that cannot outlive us.

Each child is a session of its own, so that Ctrl-C reaches Herald alone, which then stops its children in order;
and the kernel ends it when we die without having had the chance (PR_SET_PDEATHSIG, by setpriv(1): a wrapper and
not `preexec_fn`, because running Python between fork and exec can deadlock in a process with threads).

The death signal belongs to the *thread* that starts the child: start children from the main thread only.
"""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from herald_cli.processes import Process
from herald_cli.servers.program import File, Program
from herald_contracts.errors import ConfigurationError


def command(program: Program) -> list[str]:
    """The argument list that runs `program` tied to our life. Raises ConfigurationError without setpriv(1)."""
    wrapper = shutil.which("setpriv", path="/usr/local/bin:/usr/bin:/bin")
    if wrapper is None:
        raise ConfigurationError("the command setpriv is missing", hint="install the package util-linux")
    death = program.orphan_signal.name.removeprefix("SIG")
    return [wrapper, "--pdeathsig", death, *program.privileges, "--", *program.argv]


def prepare(program: Program) -> None:
    """Folders, files and preparations of `program`; blocking. Raises ConfigurationError."""
    try:
        program.cwd.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in program.files:
            write(file)
        if program.prepare is not None:
            program.prepare()
    except OSError as e:
        raise unusable(e, program.cwd) from None


def write(file: File) -> None:
    """Replace the file as a whole: a reader sees the old content or the new, and a kill leaves one of them."""
    file.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=file.path.parent, prefix=f".{file.path.name}.")
    try:
        with os.fdopen(handle, "w") as out:
            os.fchmod(out.fileno(), file.mode)
            out.write(file.content)
        Path(name).replace(file.path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class Guard:
    """Our end of the guard's pipe. Without a farewell, closing it (or dying) ends everything that is watched."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "herald_cli.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def watch(self, process: Process, litter: str = "") -> None:
        """`process` leads a session; `litter` is how its files in /dev/shm begin."""
        self._order(f"watch {process.pid} {process.started} {litter}")

    def forget(self, process: Process) -> None:
        self._order(f"forget {process.pid}")

    def farewell(self) -> None:
        """All is in order: let the guard go without doing anything."""
        self._order("farewell")
        assert self._process.stdin is not None  # noqa: S101 - a pipe, see above
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _order(self, order: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe, see above
        # A guard that somebody killed guards nothing, but is no reason for Herald to stop.
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(order + "\n")
            self._process.stdin.flush()


def unusable(error: OSError, path: Path) -> ConfigurationError:
    """A failure of the file system as something a person can act on."""
    hints = {
        "ENOSPC": "the disk is full: free some space",
        "EDQUOT": "your disk quota is used up: free some space",
        "EROFS": "the file system is read-only: use --state to name another folder",
        "EACCES": "not yours to write: use --state to name another folder",
        "EFBIG": "a file would grow beyond the limit set for it (ulimit -f)",
    }
    name = errno.errorcode.get(error.errno or 0, "")
    return ConfigurationError(error.strerror or str(error), path=str(error.filename or path), hint=hints.get(name, ""))
