"""`kubectl herald` as a person types it: found by kubectl on PATH, in a process of its own."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interrupts import hear_ctrl_c


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document that was printed."""
        return json.loads(self.out)


class Plugin:
    """`namespace` goes with every call; `kubectl` is the program's folder."""

    def __init__(self, kubeconfig: Path, namespace: str, kubectl: Path) -> None:
        path = os.pathsep.join((str(Path(sys.executable).parent), str(kubectl), os.environ["PATH"]))
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": path, "NO_COLOR": "1"}
        self._kubectl = str(kubectl / "kubectl")
        self._namespace = namespace

    async def __call__(self, *arguments: str, within: float = 90) -> Answer:
        """Never a traceback, whatever the answer. Ended after `within` seconds, as by Ctrl-C: what was said so far."""
        process = await asyncio.create_subprocess_exec(
            self._kubectl,
            "herald",
            *arguments,
            "-n",
            self._namespace,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=hear_ctrl_c,
        )
        asyncio.get_running_loop().call_later(within, _interrupt, process)
        out, err = await process.communicate()
        assert process.returncode is not None
        answer = Answer(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in answer.err, answer.err
        assert "internal error" not in answer.err, answer.err
        return answer


def _interrupt(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(2)
