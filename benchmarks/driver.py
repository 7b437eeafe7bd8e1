"""The open-loop load client as seen by a measurement: one process for as long as the replies may come."""

import dataclasses
import json
import sys
from pathlib import Path
from types import TracebackType

from benchmarks.open_loop import Order, Stretch
from benchmarks.processes import Child


class Driver:
    """Receives replies on `reply_port` from its start on. `secret` signs what it sends."""

    def __init__(self, log: Path, *, reply_port: int, secret: str) -> None:
        self.reply_url = f"http://127.0.0.1:{reply_port}/replies"
        self._child = Child("load client", [sys.executable, "-m", "benchmarks.open_loop"], log=log, piped=True)
        self._child.tell(json.dumps({"reply_port": reply_port, "secret": secret}))
        self._child.result()

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._child.stop()

    def run(self, order: Order) -> Stretch:
        """One stretch of load, from its first message to its last reply. Raises Failed."""
        self._child.tell(json.dumps(dataclasses.asdict(order)))
        return Stretch(**json.loads(self._child.result()))
