"""`python -m herald_agent --settings FILE`: one worker."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from herald_agent.main import serve
from herald_contracts.errors import ConfigurationError, HeraldError
from herald_contracts.settings import AgentSettings
from herald_runtime import logs, metrics, process

EXIT_FAILED = 70  # sysexits.h EX_SOFTWARE


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m herald_agent", description="Run one of Herald's workers.")
    parser.add_argument("--settings", type=Path, required=True, metavar="FILE", help="rendered settings (JSON)")
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print the settings with all defaults, and leave; they hold no secret",
    )
    chosen = parser.parse_args(arguments)
    try:
        settings = AgentSettings.load(chosen.settings)
    except ConfigurationError as e:
        print(f"herald agent: {e}", file=sys.stderr)  # noqa: T201 - a command's answer
        return process.EXIT_CONFIGURATION
    if chosen.print_config:
        print(settings.model_dump_json(indent=2))  # noqa: T201 - what was asked for
        return 0
    logs.configure("agent", settings.log_level)
    metrics.configure("agent", settings.namespace, settings.name)
    try:
        return process.run("agent", lambda stop: serve(settings, stop))
    except HeraldError as e:
        logs.get("agent").error("ended", problem=str(e), kind=type(e).__name__)
    except Exception:
        # A bug: its place goes to the log, and the supervisor starts another worker.
        logs.get("agent").exception("broke")
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
