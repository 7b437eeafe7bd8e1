"""How a Herald process begins and ends: uvloop, signals, one tidy way out."""

import asyncio
import contextlib
import ctypes
import gc
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from herald_contracts.errors import ConfigurationError
from herald_runtime import logs

EXIT_CONFIGURATION = 78  # sysexits.h EX_CONFIG: a supervisor need not try again


def run(component: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run `main(stop)` on uvloop until it returns; SIGTERM and SIGINT set `stop`. The result is an exit code.

    A ConfigurationError becomes one line on standard error and exit code 78, never a traceback.
    """
    log = logs.get(component)

    async def guarded() -> None:
        stop = asyncio.Event()
        heed(stop)
        await main(stop)

    try:
        uvloop.run(guarded())
    except ConfigurationError as e:
        print(f"herald {component}: {e}", file=sys.stderr, flush=True)
        log.error("configuration refused", path=e.path, problem=e.args[0])
        return EXIT_CONFIGURATION
    return 0


def heed(stop: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT set `stop`. Once more where a library has taken the signals for itself."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def settled() -> None:
    """Call when a process has all that it will keep: the garbage collector leaves that alone from now on.

    What a request or a turn makes goes by itself. With its defaults the collector took a twentieth of a busy
    gateway's CPU time, and a fifth of a busy worker's, to find nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def trim() -> None:
    """Give back memory that is free: after a large piece of work that does not come again soon.

    Python and glibc keep what they once had. Where there is no glibc, only Python's part happens.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def first_to_end(*tasks: asyncio.Task[None]) -> None:
    """Wait until one of a service's loops ends, then cancel the rest and raise what it raised.

    A service whose loop died must not linger half alive: its supervisor restarts it.
    """
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
