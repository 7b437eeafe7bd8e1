"""uvicorn, as a part of our process: our signals, our socket, our protocol, and nothing slower by accident."""

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Iterator

import uvicorn
import uvloop
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from herald_contracts.errors import ConfigurationError
from herald_runtime import logs

log = logs.get("serving")
_KEEP_ALIVE_SECONDS = 75  # longer than the 60 s after which common proxies drop an idle connection themselves
_BACKLOG = 2_048
_OTHER_FILES = 256


class Server(uvicorn.Server):
    """Leaves signals to whoever runs the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def begin_to_end(self) -> None:
        """Accept no more connections; `serve` returns when the requests in progress have been answered."""
        self.should_exit = True


def create(app: ASGIApp, protocol: type[HttpToolsProtocol], drain_seconds: float) -> Server:
    """A server that ends within `drain_seconds` of `begin_to_end`, cancelling what is left."""
    return Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(drain_seconds)),
            backlog=_BACKLOG,
        )
    )


def require_fast(protocol: type[asyncio.Protocol]) -> None:
    """Raises ConfigurationError unless uvloop and httptools are in use: their absence is silent and costs 2.5x."""
    if not isinstance(asyncio.get_running_loop(), uvloop.Loop):
        raise ConfigurationError("the event loop is not uvloop", hint="start with `python -m herald_gateway`")
    if not issubclass(protocol, HttpToolsProtocol):
        raise ConfigurationError("the HTTP parser is not httptools", hint="install httptools")


def listen(host: str, port: int, of: str = "") -> socket.socket:
    """A bound socket; connections are refused until the server takes it over.

    Raises ConfigurationError naming the setting `<of>host` or `<of>port`.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise ConfigurationError(f"{host!r} is not an address of this machine", path=f"{of}host") from None
    sock = socket.socket(family, kind, number)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as e:
        sock.close()
        if e.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"port {port} is taken", path=f"{of}port", hint="stop the other, or choose one"
            ) from None
        raise ConfigurationError(f"cannot listen on {host}:{port} ({e.strerror})", path=f"{of}host") from None
    sock.setblocking(False)
    return sock


def allow_files(connections: int) -> None:
    """Raise the soft limit on open files to what `connections` need; say so when the hard limit is lower."""
    needed = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    possible = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < needed:
        log.warning("fewer open files than connections allowed", files=possible, connections=connections)
