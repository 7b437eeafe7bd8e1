"""The whole of Herald as a person starts it: `herald up` on a file, the scripted model, one hmac channel."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.probing import get, status
from benchmarks.processes import Child, Failed, tree_cpu_seconds
from benchmarks.servers import Sync
from herald_cli.ports import Ports

CHANNEL = "hooks"
PATH = f"/channels/{CHANNEL}/events"
_START_SECONDS = 180

_FILE = """\
apiVersion: herald.dev/v1alpha1
kind: AgentDeployment
metadata:
  name: {name}
spec:
  instructions: You answer questions about builds, briefly.
  channels:
    - name: {channel}
      hmac:
        secretRef: {{name: bench-hooks}}
        replyURL: {reply_url}
  local:
    port: {port}
  inference:
    model: scripted
---
apiVersion: v1
kind: Secret
metadata:
  name: bench-hooks
stringData:
  secret: {secret}
"""


@dataclass(frozen=True, slots=True)
class Herald:
    """`port` is the gateway's."""

    port: int
    state: Path

    def snapshot(self) -> dict[str, Any]:
        """`herald status --json`. Raises Failed."""
        done = subprocess.run(
            [_command(), "status", "--state", str(self.state), "--json"], capture_output=True, text=True, check=False
        )
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise Failed(f"herald status: {done.stderr.strip() or done.stdout.strip() or done.returncode}") from None
        return answer

    def pids(self) -> dict[str, int]:
        """The process of every component that has one."""
        return {c["name"]: c["pid"] for c in self.snapshot()["components"] if c["pid"]}

    def cpu_seconds(self) -> dict[str, float]:
        """CPU so far of each component and all it has started, workers together."""
        spent: dict[str, float] = {}
        for name, pid in self.pids().items():
            part = "workers" if name.startswith("agent") else name
            spent[part] = spent.get(part, 0.0) + tree_cpu_seconds(pid)
        return spent

    def settings(self, prefix: str) -> list[Path]:
        """The rendered settings files whose names begin with `prefix`, in order."""
        return sorted((self.state / "settings").glob(f"{prefix}*.json"))

    def recalls(self) -> dict[str, float]:
        """How often recall ended in each way, over all workers."""
        found: dict[str, float] = {}
        for file in self.settings("agent"):
            answer = get(json.loads(file.read_text())["health_port"], "/metrics")
            for line in answer[1].decode().splitlines() if answer else ():
                if line.startswith("herald_agent_recall_total{"):
                    outcome = line.partition('outcome="')[2].partition('"')[0]
                    found[outcome] = found.get(outcome, 0.0) + float(line.rsplit(" ", 1)[1])
        return found


def _command() -> str:
    return str(Path(sys.executable).parent / "herald")


@contextmanager
def running(folder: Path, *, ports: Ports, reply_url: str, secret: str, sync: Sync) -> Iterator[Herald]:
    """Start it in the foreground, wait until it accepts messages, stop it. Raises Failed."""
    folder.mkdir(parents=True, exist_ok=True)
    port, state, file = ports.pick(), folder / "state", folder / "bench.yaml"
    file.touch(0o600)
    file.write_text(_FILE.format(name=f"bench-{sync}", channel=CHANNEL, reply_url=reply_url, port=port, secret=secret))
    start = [_command()] if sync == "always" else [sys.executable, "-m", "benchmarks.relaxed"]
    with Child(
        f"herald up ({sync})",
        [*start, "up", "-f", str(file), "--state", str(state)],
        log=folder / "up.log",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as child:
        started = Herald(port, state)
        child.wait_until(lambda: status(port, "/healthz/ready") == 200, seconds=_START_SECONDS)
        child.wait_until(lambda: started.snapshot().get("phase") == "running", seconds=_START_SECONDS)
        yield started
