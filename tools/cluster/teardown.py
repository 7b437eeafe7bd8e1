"""Ending a cluster, whoever started it and however far it came: all from what the state folder and its path say."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tools.cluster import leftovers, mounts
from tools.cluster.processes import marked
from tools.cluster.state import Folder
from tools.cluster.trouble import Trouble


def stop(state: Path) -> bool:
    """End what runs from this folder and remove all but its logs; whether there was anything. Raises Trouble."""
    folder = Folder(state)
    if not folder.root.exists() and not marked(str(folder.root)):
        return False
    with folder.alone(), undisturbed():
        there = folder.settings() is not None or bool(marked(str(folder.root)))
        end(folder)
        folder.clear(logs=False)
    return there


def end(folder: Folder) -> None:
    """Every process, mount and network of this cluster. The caller holds the folder's lock. Raises Trouble."""
    folder.processes.kill(folder.processes.recorded())
    folder.processes.sweep()
    if os.geteuid() == 0:
        leftovers.remove(folder)
    elif mounts.below(folder.root):
        raise Trouble(
            "root has started a node from this folder",
            f"end it as root: python -m tools.cluster down --state {folder.root}",
        )


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C waits: cleaning up half would leave what the first one was meant to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
