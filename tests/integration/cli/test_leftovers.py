"""Cleaning up by old notes: what is ours is ended, a stranger who has our number now is not."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from herald_cli import guard, leftovers, processes
from herald_cli.processes import Process
from herald_cli.state import Choices, Component
from tests.unit.cli.deployments import snapshot

LEADER = """
import subprocess, sys
below = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", *sys.argv[1:]])
print(below.pid, flush=True)
"""


@contextmanager
def orphan(*words: str) -> Iterator[tuple[Process, Process]]:
    """A session whose leader has ended (and what we know of it), and the process that is left in it."""
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, *words], stdout=subprocess.PIPE, start_new_session=True, text=True
    ) as leader:
        known = processes.look_up(leader.pid)
        assert known is not None
        assert leader.stdout is not None
        below = processes.look_up(int(leader.stdout.readline()))
        assert below is not None
        leader.wait()
    try:
        yield known, below
    finally:
        below.send(signal.SIGKILL)


def notes(leader: Process, litter: str = "") -> Component:
    return Component(name="triton", state="ready", pid=leader.pid, started=leader.started, litter=litter)


def test_what_works_in_the_folder_is_ended(tmp_path: Path) -> None:
    with orphan(str(tmp_path / "triton" / "model.py")) as (leader, below):
        assert leftovers.clean(snapshot(notes(leader)), Choices(), tmp_path) == 1
        assert processes.wait_gone([below], 5) == ()


def test_a_stranger_is_left_alone(tmp_path: Path) -> None:
    with orphan("/somewhere/else") as (leader, below):
        assert leftovers.clean(snapshot(notes(leader)), Choices(), tmp_path) == 0
        assert below.alive()


def test_a_number_that_belongs_to_another_process_now(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()", str(tmp_path / "x")], start_new_session=True
    ) as other:
        now = processes.look_up(other.pid)
        assert now is not None
        earlier = Process(now.pid, now.started - 1)
        assert leftovers.clean(snapshot(notes(earlier)), Choices(), tmp_path) == 0
        assert now.alive()
        other.kill()


def test_shared_memory_of_this_folder_is_removed_and_no_other(tmp_path: Path) -> None:
    mine, others = Choices(), Choices()
    files = [guard.SHARED_MEMORY / f"{leftovers.litter(choices)}region" for choices in (mine, others)]
    try:
        for file in files:
            file.write_text("")
        leftovers.clean(None, mine, tmp_path)
        assert [file.exists() for file in files] == [False, True]
    finally:
        for file in files:
            file.unlink(missing_ok=True)
