"""A Herald as a person runs it: the `herald` command in a process of its own, on a state folder of the test's."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from herald_cli import guard, logfiles, processes
from herald_cli.ports import Ports
from herald_cli.state import StateFolder
from tests.interrupts import hear_ctrl_c

HERALD = (sys.executable, "-m", "herald_cli")


def write_deployment(file: Path, **spec: Any) -> Path:
    """A small deployment: an hmac and a standardWebhooks channel, the scripted model, one worker, no memory."""
    ports = Ports()
    channels = [
        {"name": "hmac", "hmac": {"secretRef": {"name": "hmac-key"}, "replyURL": _reply_url(ports)}},
        {"name": "standard", "standardWebhooks": {"secretRef": {"name": "std-key"}, "replyURL": _reply_url(ports)}},
    ]
    document = {
        "apiVersion": "herald.dev/v1alpha1",
        "kind": "AgentDeployment",
        "metadata": {"name": "support"},
        "spec": {
            "instructions": "You answer.",
            "channels": channels,
            "agent": {"replicas": 1, "turnSeconds": 20, "memory": {"enabled": False}},
            "inference": {"model": "scripted"},
            # Not the usual one, which two that start at the same moment would both find free.
            "local": {"port": ports.pick()},
            **spec,
        },
    }
    file.write_text(yaml.safe_dump(document))
    return file


def _reply_url(ports: Ports) -> str:
    return f"http://127.0.0.1:{ports.pick()}/replies"


@dataclass
class Herald:
    """Runs `herald` commands. `prefix` comes before each: another user, a limit."""

    state: Path
    file: Path
    prefix: Sequence[str] = ()
    command: Sequence[str] = HERALD
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, code: int | None = 0, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """`herald ARGUMENTS --state ...`; it must end with `code`, whatever that is where None."""
        try:
            done = subprocess.run(
                self.words(*arguments),
                capture_output=True,
                text=True,
                timeout=timeout,
                env={**os.environ, **self.environment},
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AssertionError(f"herald {arguments[0]}: no end within {timeout:g} s\n{self._story()}") from None
        assert code is None or done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def _story(self) -> str:
        """How its parts are, and the last words of those that are not ready."""
        snapshot = StateFolder(self.state).snapshot()
        lines: list[str] = []
        for component in snapshot.components if snapshot is not None else ():
            lines.append(f"{component.name}: {component.state} {component.last_error}")
            if component.state != "ready":
                last = logfiles.last_lines(self.state / "logs", component.name, 15)
                lines += [f"    {entry.event[:300]}" for entry in last]
        return "\n".join(lines)

    def words(self, *arguments: str) -> list[str]:
        return [*self.prefix, *self.command, *arguments, "--state", str(self.state)]

    @contextlib.contextmanager
    def start(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on until it is stopped, here at the latest."""
        with subprocess.Popen(
            self.words(*arguments), stdout=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def up(self, *, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.run("up", "-f", str(self.file), "--detach", code=code, timeout=150)

    def down(self) -> None:
        self.run("down", code=None)

    def components(self) -> dict[str, Any]:
        return {c["name"]: c for c in self.json("status", code=None)["components"]}

    def family(self) -> tuple[processes.Process, ...]:
        """Every process of it: the supervisor, what it started, and what those started."""
        snapshot = StateFolder(self.state).running()
        return processes.tree(snapshot.process)

    @property
    def litter(self) -> list[str]:
        """Its files in shared memory."""
        prefix = f"{guard.PREFIX}{StateFolder(self.state).choices().id}-"
        return [path.name for path in guard.SHARED_MEMORY.glob(f"{prefix}*")]
