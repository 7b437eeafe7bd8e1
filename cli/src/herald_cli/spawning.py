"""A started child and what it says: its output arrives line by line, its exit does not wait for its output.

The pipe is our own: with asyncio's, waiting for the child would also wait for every grandchild that still holds the
pipe open, and Triton's model processes do.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable

from herald_cli import children, logfiles, processes
from herald_cli.servers.program import Program

_CHUNK = 65_536


class Child:
    """Made by `start`. `process` is None when it was gone before it could be looked at."""

    def __init__(self, child: asyncio.subprocess.Process, reading: int, say: Callable[[str], None]) -> None:
        self.process = processes.look_up(child.pid)
        self._child = child
        self._reading = reading
        self._say = say
        self._lines = logfiles.Lines()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(reading, self._read)

    async def wait(self) -> int:
        """Its exit code; negative is the signal that killed it."""
        return await self._child.wait()

    def finish(self) -> None:
        """Take what it said last; nothing is read after this."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._reading, _CHUNK):
                self._take(data)
        for line in self._lines.end():
            self._say(line)
        self._loop.remove_reader(self._reading)
        os.close(self._reading)

    def _read(self) -> None:
        try:
            data = os.read(self._reading, _CHUNK)
        except BlockingIOError:
            return
        if data:
            self._take(data)
        else:
            self._loop.remove_reader(self._reading)

    def _take(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            self._say(line)


async def start(program: Program, say: Callable[[str], None]) -> Child:
    """Start `program`, which `children.prepare` has made ready; `say` gets each line of its output.

    From the main thread only (see `children`). Raises ConfigurationError without setpriv(1).
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    try:
        child = await asyncio.create_subprocess_exec(
            *children.command(program),
            cwd=program.cwd,
            env=program.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return Child(child, reading, say)
