"""P4, P5, P6 and P8: from a message that is due to its reply on the other side, the whole platform in between."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks import bare
from benchmarks import herald as whole
from benchmarks.driver import Driver
from benchmarks.figures import Figure, over_rounds, ratio
from benchmarks.goals import Finding, Measured, Table
from benchmarks.herald import Herald
from benchmarks.open_loop import Order, Stretch
from benchmarks.plan import Plan
from benchmarks.processes import Failed
from benchmarks.servers import Sync
from herald_cli.ports import Ports

SECRET = "benchmark-" + "1" * 32
QUESTION = "message {n}: is the build green?"
STEADY, PEAK = 50, 300  # messages per second
USERS = 200
# One user in ten has more facts than a prompt takes, so that recall must search and not only list.
MANY, FACTS = 10, 8
FIRST_TOKEN, STUB = 0.3, 0.02  # seconds


class Loaded(Protocol):
    """What can be put under load: it has a port and knows what its processes have used."""

    @property
    def port(self) -> int: ...

    def cpu_seconds(self) -> dict[str, float]: ...


@dataclass(slots=True)
class Runner:
    """Sends stretches and keeps what came of them, by name; `spent` is CPU seconds by part."""

    plan: Plan
    driver: Driver
    kept: dict[str, list[Stretch]] = field(default_factory=dict)
    spent: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    number: int = 0

    def run(
        self, name: str, target: Loaded, rate: float, seconds: float, text: str = QUESTION, stride: int = 1
    ) -> Stretch:
        self.number += 1
        # No two stretches share an event id: the second would be recognised and not answered.
        salt = f"{self.plan.scratch.name}-{self.number}"
        path = bare.PATH if isinstance(target, bare.Skeleton) else whole.PATH
        order = Order(rate, seconds, salt, text, conversations=USERS, stride=stride, port=target.port, path=path)
        before = target.cpu_seconds()
        seen = self.driver.run(order)
        after = target.cpu_seconds()
        if not seen.answered:
            raise Failed(f"{name}: {seen.sent} sent, {seen.accepted} accepted, nothing answered")
        self.kept.setdefault(name, []).append(seen)
        self.spent.setdefault(name, []).append({part: after[part] - before.get(part, 0) for part in after})
        self.plan.say(
            f"{name}: {seen.sent} sent at {rate:g}/s, {seen.answered} answered, P50 {seen.p50:.1f} P99 {seen.p99:.1f} "
            f"max {seen.highest:.0f} ms, lost {seen.lost}, doubled {seen.doubled + seen.strangers}"
        )
        return seen


def measure(plan: Plan, wanted: frozenset[str]) -> Measured:
    ports, rounds = Ports(), max(1, (plan.rounds + 1) // 2)
    with ExitStack() as stack:
        driver = stack.enter_context(
            Driver(plan.folder("end-to-end") / "load.log", reply_port=ports.pick(), secret=SECRET)
        )
        runner = Runner(plan, driver)
        herald = _up(plan, stack, ports, driver, "always")
        _seed(runner, herald)
        found: list[Finding] = []
        notes: list[str] = []
        if wanted & {"P4", "P8"}:
            _side_by_side(runner, herald, ports, rounds, wanted)
            found += _compared(runner, wanted)
        if "P5" in wanted:
            found.append(_first_token(runner, herald, rounds))
        if "P6" in wanted:
            found += _peak(runner, herald)
        recalls = herald.recalls()
        notes.append("recalls by outcome, all stretches: " + (", ".join(f"{k} {v:,.0f}" for k, v in recalls.items())))
    return Measured(tuple(found), (_table(runner), _cpu(runner)), tuple(notes))


def _up(plan: Plan, stack: ExitStack, ports: Ports, driver: Driver, sync: Sync) -> Herald:
    plan.say(f"herald up, sync {sync} ...")
    begin = time.monotonic()
    up = whole.running(
        plan.folder("end-to-end") / sync, ports=ports, reply_url=driver.reply_url, secret=SECRET, sync=sync
    )
    started = stack.enter_context(up)
    plan.say(f"herald up, sync {sync}: ready after {time.monotonic() - begin:.0f} s")
    return started


def _seed(runner: Runner, herald: Herald) -> None:
    """Give every user one fact, and one in `MANY` of them `FACTS`: recall must have something to find."""
    text = "remember that fact {n} is about the build of my team"
    runner.run("(every user states a fact)", herald, STEADY, USERS / STEADY, text)
    # Spread over the users, whom the load client goes through in order: else those who are searched for come in a row.
    for number in range(1, FACTS):
        more = f"remember that detail {number} belongs to the release of my team"
        runner.run("(some state more)", herald, STEADY, USERS / MANY / STEADY, more, stride=MANY)


def _side_by_side(runner: Runner, herald: Herald, ports: Ports, rounds: int, wanted: frozenset[str]) -> None:
    """The skeleton, Herald, and Herald with the relaxed store, in turn; all are up while one is loaded."""
    plan = runner.plan
    seconds = plan.seconds(12)
    with ExitStack() as stack:
        skeleton = relaxed = None
        if "P4" in wanted:
            up = bare.running(
                plan.folder("end-to-end") / "skeleton", ports=ports, reply_url=runner.driver.reply_url, secret=SECRET
            )
            skeleton = stack.enter_context(up)
        if "P8" in wanted:
            relaxed = _up(plan, stack, ports, runner.driver, "2m")
            _seed(runner, relaxed)
        for number in range(rounds + 1):
            # Round 0 warms up: connections, prepared statements, caches.
            mark, length = ("", seconds) if number else ("(warm-up) ", plan.seconds(3))
            if skeleton is not None:
                runner.run(f"{mark}skeleton", skeleton, STEADY, length)
            runner.run(f"{mark}Herald", herald, STEADY, length)
            if relaxed is not None:
                runner.run(f"{mark}Herald, sync 2m", relaxed, STEADY, length)


def _compared(runner: Runner, wanted: frozenset[str]) -> list[Finding]:
    ours = runner.kept["Herald"]
    conditions = f"{STEADY}/s, sync always, recall on"
    found = []
    if "P4" in wanted:
        bare_p99, p99 = [s.p99 for s in runner.kept["skeleton"]], [s.p99 for s in ours]
        reached = over_rounds(p99)
        found.append(Finding("P4.ratio", ratio(p99, bare_p99), _ms(p99), _ms(bare_p99), conditions))
        found.append(Finding("P4.p99", reached, _ms(p99), "", conditions))
    if "P8" in wanted:
        always, relaxed = [s.p50 for s in ours], [s.p50 for s in runner.kept["Herald, sync 2m"]]
        found.append(Finding("P8.p50", ratio(always, relaxed), _ms(always), _ms(relaxed), f"{STEADY}/s"))
    return found


def _first_token(runner: Runner, herald: Herald, rounds: int) -> Finding:
    text = f"{QUESTION} [[first={FIRST_TOKEN}]]"
    name = "Herald, first token after 300 ms"
    for _ in range(rounds):
        runner.run(name, herald, STEADY, runner.plan.seconds(10), text)
    p99 = [s.p99 for s in runner.kept[name]]
    return Finding(
        "P5.p99", over_rounds(p99), _ms(p99), f"{FIRST_TOKEN * 1e3:.0f} ms: the model", f"{STEADY}/s, whole reply"
    )


def _peak(runner: Runner, herald: Herald) -> list[Finding]:
    text = f"{QUESTION} [[first={STUB}]]"
    plan = runner.plan
    calm = runner.run("Herald, 20 ms model", herald, STEADY, plan.seconds(20), text)
    peak = runner.run("Herald, 20 ms model, peak", herald, PEAK, plan.seconds(60), text)
    conditions = f"{PEAK}/s for {plan.seconds(60):.0f} s on {plan.cores} cores, sync always, recall on"
    answered, doubled = 100 * peak.answered / peak.sent, peak.doubled + peak.strangers
    return [
        Finding("P6.answered", _exact(answered), f"{peak.answered:,} of {peak.sent:,}", "", conditions),
        Finding("P6.lost", _exact(peak.lost), str(peak.lost), "", "counted by the load client"),
        Finding("P6.doubled", _exact(doubled), str(doubled), "", "counted by the load client"),
        Finding("P6.p99", ratio([peak.p99], [calm.p99]), _ms([peak.p99]), _ms([calm.p99]), conditions),
    ]


def _table(runner: Runner) -> Table:
    rows = []
    for name, stretches in runner.kept.items():
        if name.startswith("("):
            continue
        rows.append(
            (
                name,
                f"{sum(s.sent for s in stretches):,}",
                f"{over_rounds([s.ack_p50 for s in stretches]).value:.1f} / "
                f"{over_rounds([s.ack_p99 for s in stretches]).value:.1f}",
                f"{over_rounds([s.p50 for s in stretches]).value:.1f}",
                f"{over_rounds([s.p99 for s in stretches]).value:.1f}",
                f"{max(s.highest for s in stretches):.0f}",
                f"{over_rounds([s.replies_per_second for s in stretches]).value:.0f}",
                str(sum(s.lost for s in stretches)),
                str(sum(s.doubled + s.strangers for s in stretches)),
                str(sum(s.failures + s.sent - s.accepted for s in stretches)),
                f"{over_rounds([s.late for s in stretches]).value:.1f}",
            )
        )
    columns = (
        "",
        "sent",
        "202 P50 / P99 ms",
        "reply P50 ms",
        "reply P99 ms",
        "slowest ms",
        "replies/s",
        "lost",
        "doubled",
        "refused or failed",
        "load client late by (P99) ms",
    )
    return Table("P4, P5, P6, P8: end to end, open loop, medians of the rounds", columns, tuple(rows))


def _cpu(runner: Runner) -> Table:
    """CPU per message: what is left to say when the disk or other work on the machine blurs the times."""
    parts = sorted({part for runs in runner.spent.values() for run in runs for part in run})
    rows = []
    for name, runs in runner.spent.items():
        if name.startswith("("):
            continue
        sent = sum(s.sent for s in runner.kept[name])
        spent = {part: sum(run.get(part, 0.0) for run in runs) / sent * 1e3 for part in parts}
        rows.append(
            (name, f"{sum(spent.values()):.2f}", *(f"{spent[part]:.2f}" if spent[part] else "" for part in parts))
        )
    return Table("CPU ms per message, by part", ("", "all", *parts), tuple(rows))


def _ms(values: list[float]) -> str:
    return f"{over_rounds(values).value:.1f} ms"


def _exact(value: float) -> Figure:
    return Figure(value, value, value)
