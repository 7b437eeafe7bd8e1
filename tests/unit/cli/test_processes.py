"""A process has ended when its last thread has: the first one alone shows as a zombie while ports are still held."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from herald_cli import processes

# Its first thread ends (exit(2), not exit_group(2)) while another goes on and holds what the process has open.
_FIRST_THREAD_ENDS = """
import ctypes, platform, threading
threading.Thread(target=threading.Event().wait).start()
ctypes.CDLL(None).syscall({"x86_64": 60}.get(platform.machine(), 93), 0)
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", _FIRST_THREAD_ENDS]) as started:
        yield started
        started.kill()


def test_one_whose_first_thread_has_ended_is_still_there(child: subprocess.Popen[bytes]) -> None:
    process = processes.look_up(child.pid)
    assert process is not None
    while _state(child.pid) != "Z":
        assert child.poll() is None
        time.sleep(0.01)
    assert process.alive()
    assert processes.look_up(child.pid) == process
    process.send(signal.SIGKILL)
    assert processes.wait_gone([process], 10) == ()
    assert _state(child.pid) == "Z", "nobody has read its exit status, and yet it has ended"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
