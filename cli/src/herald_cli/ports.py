"""Free ports on this machine, chosen so that they stay usable.

They are taken below the range that the kernel hands out to outgoing connections: a client that keeps trying to
reach a local port inside that range can connect to itself and so keep the real server from coming back.
"""

import contextlib
import random
import socket
from pathlib import Path

from herald_contracts.errors import ConfigurationError, TemporaryError

_LOWEST = 20_000
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class NoFreePort(TemporaryError):
    """Thousands of ports, and none is free."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do: a port whose last connections are still closing counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError:
        return False
    return True


class Ports:
    """Hands out free ports, each at most once."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def pick(self, *preferred: int | None, host: str = "127.0.0.1") -> int:
        """The first of `preferred` that is free, else any other. Raises NoFreePort."""
        for wish in preferred:
            if wish is not None and self._take(wish, host):
                return wish
        candidates = list(range(_LOWEST, max(_LOWEST + 1_000, _highest())))
        random.shuffle(candidates)
        for port in candidates:
            if self._take(port, host):
                return port
        raise NoFreePort("no free port on this machine")

    def exactly(self, port: int, *, host: str, path: str) -> int:
        """That port and no other; `path` is the field that names it. Raises ConfigurationError when it is taken."""
        if not self._take(port, host):
            if port < 1_024 and not owner(port):
                raise ConfigurationError(
                    f"port {port} cannot be used", path=path, hint="ports below 1024 are root's: choose another"
                )
            by = owner(port)
            raise ConfigurationError(
                f"port {port} on {host} is taken" + (f" by {by}" if by else ""),
                path=path,
                hint="stop that process, choose another port, or leave the field out for a free one",
            )
        return port

    def _take(self, port: int, host: str) -> bool:
        if port in self._given or not is_free(port, host):
            return False
        self._given.add(port)
        return True


def _highest() -> int:
    try:
        return int(_RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768


def owner(port: int) -> str:
    """Who listens on a local TCP port, as `name (pid N)`; empty when that cannot be known (another user's)."""
    inodes = _listening(port)
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for handle in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(handle.readlink()) in wanted:
                        return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""


def _listening(port: int) -> set[str]:
    """Inodes of the sockets that listen on `port`, from proc(5): state 0A is LISTEN."""
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found
