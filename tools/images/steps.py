"""Run one command of another program, and say what it is at: nobody likes to wait in the dark."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.images.trouble import Trouble

_PATIENCE = 2.0
_EACH = 10.0
_LAST_LINES = 25


def output(command: Sequence[str]) -> str:
    """What a quick command prints. Raises subprocess.CalledProcessError."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def run(
    command: Sequence[str], doing: str, *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> float:
    """Run to the end; returns the seconds it took. Raises Trouble with the command's last words."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="herald-images-", suffix=".log", delete=False) as log:
        child = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            code = _watched(child, doing, Path(log.name), began)
        except BaseException:
            child.terminate()
            child.wait()
            raise
    if code:
        words = Path(log.name).read_text(errors="replace").splitlines()[-_LAST_LINES:]
        raise Trouble("\n".join([f"{doing}: {command[0]} ended with {code}", *words]), f"less {log.name}")
    Path(log.name).unlink()
    return time.monotonic() - began


def _watched(child: subprocess.Popen[bytes], doing: str, log: Path, began: float) -> int:
    due = began + _PATIENCE
    while True:
        try:
            return child.wait(timeout=max(due - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            at = _last(log)
            print(f"  {doing}: {time.monotonic() - began:.0f} s{at}", file=sys.stderr, flush=True)
            due = time.monotonic() + _EACH


def _last(log: Path) -> str:
    """The last line that says something, cut to fit a terminal."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if "STEP" in line]
    return f", {lines[-1][:80]}" if lines else ""
