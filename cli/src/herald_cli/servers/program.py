"""What it takes to run one child process, as a value: so that a plan can be looked at, compared and tested.

Nothing here starts anything: `herald_cli.children` does, for `herald up` and for the tests' fixtures alike.
"""

import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What a child may see of our environment: enough to run and to reach the outside, nothing a person exported for
# another purpose (tokens live in environments).
_PASSED = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "TMPDIR",
    "TZ",
    "USER",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
)
_LOOPBACK = "127.0.0.1,localhost,::1"


@dataclass(frozen=True, slots=True)
class File:
    """Written, as a whole, before each start."""

    path: Path
    content: str = field(repr=False)
    mode: int = 0o600


async def _at_once() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Program:
    """One child process. Durations are seconds.

    `prepare` is blocking work before a start and must be repeatable (unpacking, initdb); it runs in a thread.
    `ready` is asked again and again until it is true and must bound its own time. Both raise ConfigurationError
    for what only a person can mend. `privileges` are options of setpriv(1).
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    privileges: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = field(default=None, compare=False)
    ready: Callable[[], Awaitable[bool]] = field(default=_at_once, compare=False)
    needs: tuple[str, ...] = ()
    address: str = ""
    ports: tuple[int, ...] = ()
    start_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 30
    # What the kernel sends it when its parent dies: nobody is left to be patient.
    orphan_signal: signal.Signals = signal.SIGKILL
    # A line of its own log that matches says that only a restart can mend it.
    hopeless: re.Pattern[str] | None = None
    # How its files in /dev/shm begin, which a kill leaves behind.
    litter: str = ""

    def environment(self) -> dict[str, str]:
        """The child's whole environment."""
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        exempt = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
        # gRPC sends even loopback traffic to a proxy unless told not to.
        direct = f"{exempt},{_LOOPBACK}" if exempt else _LOOPBACK
        return {
            "PATH": f"{python_bin()}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": direct,
            "no_proxy": direct,
            **passed,
            **self.env,
        }


def python_bin() -> Path:
    """The folder of the Python that runs us, which is where its packages put their commands."""
    return Path(sys.executable).parent
