"""Ending a cluster, whoever started it and however far it came: all from what the state folder and its path say."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from tools.cluster.state import Folder


def stop(state: Path) -> bool:
    """End what runs from this folder and remove all but its logs; whether there was anything. Raises Trouble."""
    folder = Folder(state)
    if not folder.root.exists():
        return False
    with folder.alone(), undisturbed():
        there = folder.settings() is not None or bool(folder.processes.recorded())
        end(folder)
        folder.clear(logs=False)
    return there


def end(folder: Folder) -> None:
    """Every process, mount and network of this cluster. The caller holds the folder's lock."""
    folder.processes.kill(folder.processes.recorded())


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C waits: cleaning up half would leave what the first one was meant to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
