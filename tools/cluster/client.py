"""kubectl and helm for one cluster, whoever runs it: ours have one, and so have clusters that we only visit."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.cluster.trouble import Trouble


@dataclass(frozen=True, slots=True)
class Client:
    """`program` finds `kubectl` and `helm`; it is asked when one is first needed, because it may have to build it."""

    kubeconfig: Path
    program: Callable[[str], Path]

    def environment(self) -> dict[str, str]:
        """This process's environment, with KUBECONFIG set and the kubectl of this cluster first on PATH."""
        path = os.pathsep.join(filter(None, (str(self.program("kubectl").parent), os.environ.get("PATH"))))
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Standard output of one kubectl command. Raises Trouble with what it said when it fails."""
        return self._run("kubectl", *arguments, stdin=stdin)

    def helm(self, *arguments: str, stdin: str = "") -> str:
        """The same for helm."""
        return self._run("helm", *arguments, stdin=stdin)

    def _run(self, name: str, *arguments: str, stdin: str) -> str:
        done = subprocess.run(
            [self.program(name), *arguments], input=stdin, capture_output=True, text=True, env=self.environment()
        )
        if done.returncode != 0:
            raise Trouble(f"{name} {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr.rstrip()}")
        return done.stdout
