"""How much is measured and where: the few things every measurement needs to know."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """`scratch` is a folder that is deleted afterwards. `quick` is for working on the benchmarks themselves: the
    figures of a quick run mean nothing.
    """

    scratch: Path
    rounds: int
    quick: bool = False
    began: float = 0.0

    def seconds(self, whole: float) -> float:
        """A duration, shortened in a quick run."""
        return whole / 6 if self.quick else whole

    def count(self, whole: int) -> int:
        return max(1, whole // 8) if self.quick else whole

    @property
    def cores(self) -> int:
        return len(os.sched_getaffinity(0))

    @property
    def server_core(self) -> int:
        """The core of what is measured, alone there; load and other servers are on `client_core`."""
        return min(os.sched_getaffinity(0))

    @property
    def client_core(self) -> int:
        """The same as `server_core` on a machine with one core only."""
        return max(os.sched_getaffinity(0))

    def folder(self, name: str) -> Path:
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def say(self, text: str) -> None:
        """Progress, on standard error."""
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", file=sys.stderr, flush=True)
