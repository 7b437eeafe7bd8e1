"""A real worker process that answers by script, and that can be told to die at one crash point.

`python -m tests.integration.agent.crashing --settings FILE [--at POINT [--nth N]]`. This is the only place that gives
a worker a `reach` that does something.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from herald_agent.crashpoints import POINTS, Reach, nothing
from herald_agent.main import serve
from herald_agent.memory.inmemory import InMemory
from herald_agent.models.scripted import ScriptedModel
from herald_contracts.settings import AgentSettings
from herald_runtime import logs, metrics, process


def dying(at: str, nth: int) -> Reach:
    """SIGKILL to ourselves the `nth` time that `at` is reached: no handler runs, nothing is flushed."""
    seen = 0

    def reach(point: str) -> None:
        nonlocal seen
        seen += point == at
        if seen == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--at", choices=POINTS)
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--no-memory", action="store_true")
    chosen = parser.parse_args()
    settings = AgentSettings.load(chosen.settings)
    logs.configure("agent", settings.log_level)
    metrics.configure("agent", settings.namespace, settings.name)
    reach = dying(chosen.at, chosen.nth) if chosen.at else nothing
    model = ScriptedModel(settings.generation)
    memory = None if chosen.no_memory else InMemory()
    return process.run("agent", lambda stop: serve(settings, stop, model=model, memory=memory, reach=reach))


if __name__ == "__main__":
    sys.exit(main())
