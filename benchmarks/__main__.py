"""`python -m benchmarks`: measure, judge, write the report.

Only a whole run writes RESULTS.md: figures of different days and machines do not belong in one table.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nats.errors import Error as NatsError
from tools.cluster import Trouble

from benchmarks import explanations, machine, report
from benchmarks.goals import GOALS, Measured
from benchmarks.measuring import end_to_end, gateways, idle, inference, operator, switching, workers
from benchmarks.plan import Plan
from benchmarks.processes import Failed
from herald_contracts.errors import HeraldError

HERE = Path(__file__).parent
ROUNDS = 5
_MOST_REASON = 300


@dataclass(frozen=True, slots=True)
class Measurement:
    """`goals` are measured together, or not at all."""

    goals: frozenset[str]
    measure: Callable[[Plan, frozenset[str]], Measured]


MEASUREMENTS = (
    Measurement(frozenset({"P1", "P2"}), gateways.measure),
    Measurement(frozenset({"P3"}), workers.measure),
    Measurement(frozenset({"P9"}), inference.measure),
    Measurement(frozenset({"P4", "P5", "P6", "P8"}), end_to_end.measure),
    Measurement(frozenset({"P12"}), idle.measure),
    Measurement(frozenset({"P12", "P13"}), operator.measure),
    Measurement(frozenset({"P13"}), switching.measure),
)


def main() -> int:
    options = _options()
    # Whoever asks us to stop gets everything stopped: SystemExit leaves through all the `with` blocks.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = frozenset(options.only) or frozenset(goal.id for goal in GOALS)
    goals = tuple(goal for goal in GOALS if goal.id in wanted)
    began = time.monotonic()
    why = explanations.read((HERE / "explanations.toml").read_text())
    measured: list[Measured] = []
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="herald-bench-") as scratch:
        plan = Plan(Path(scratch), rounds=options.rounds, quick=options.quick, began=began)
        seen = machine.look(plan.scratch)
        for each in MEASUREMENTS:
            if not each.goals & wanted:
                continue
            try:
                measured.append(each.measure(plan, each.goals & wanted))
            # ValueError: figures that cannot be compared, such as a peer that answered nothing.
            except (Failed, Trouble, HeraldError, NatsError, OSError, TimeoutError, ValueError) as e:
                text = f"{type(e).__name__}: {e}"[:_MOST_REASON]
                plan.say(f"{', '.join(sorted(each.goals))}: not measured: {text}")
                failures |= dict.fromkeys(each.goals & wanted, text)
    outcome = report.Outcome(
        machine=seen,
        date=datetime.now(UTC).date().isoformat(),
        revision=_revision(),
        rounds=options.rounds,
        quick=options.quick,
        minutes=(time.monotonic() - began) / 60,
        measured=measured,
        failures=failures,
        explanations=why,
    )
    text = report.render(outcome, goals)
    target = options.out or (None if options.quick or options.only else HERE / "RESULTS.md")
    if target is None:
        print(text)
    else:
        target.write_text(text)
        print(f"written: {target}", file=sys.stderr)
    return 0 if outcome.good(goals) else 1


def _options() -> argparse.Namespace:
    known = [goal.id for goal in GOALS]

    def ids(text: str) -> list[str]:
        chosen = [part.strip().upper() for part in text.split(",") if part.strip()]
        for each in chosen:
            if each not in known:
                raise argparse.ArgumentTypeError(f"no goal {each!r}; there are {', '.join(known)}")
        return chosen

    def positive(text: str) -> int:
        if not text.isdigit() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of rounds")
        return int(text)

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Herald beside its peers. Exit code 1 when a goal was not measured, or is missed and "
        "benchmarks/explanations.toml does not say why.",
    )
    parser.add_argument("--only", type=ids, default=[], metavar="P1,P3", help="these goals; prints, writes no file")
    parser.add_argument("--rounds", type=positive, default=ROUNDS, help=f"alternating rounds per comparison ({ROUNDS})")
    parser.add_argument(
        "--quick", action="store_true", help="short rounds to see that it works: the figures mean nothing"
    )
    parser.add_argument("--out", type=Path, help="write the report there")
    return parser.parse_args()


def _revision() -> str:
    def git(*command: str) -> str:
        done = subprocess.run(["git", *command], cwd=HERE, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    revision = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{revision} with uncommitted changes" if git("status", "--porcelain") else revision


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        sys.exit(130)
