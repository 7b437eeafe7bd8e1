"""P13's switch: how long nobody is answered while another revision takes over under load.

The workers of both revisions run, as they do on a cluster when the operator writes the rollout record; the load client
sees the longest silence between two replies, beside a stretch of the same load without a switch.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

from nats.errors import Error as NatsError

from benchmarks import herald as whole
from benchmarks.driver import Driver
from benchmarks.figures import over_rounds, ratio
from benchmarks.goals import Finding, Measured, Table
from benchmarks.open_loop import Order, Stretch
from benchmarks.plan import Plan
from benchmarks.probing import status
from benchmarks.processes import Child, Failed
from herald_cli.ports import Ports
from herald_contracts.errors import HeraldError
from herald_contracts.settings import AgentSettings
from herald_runtime import rollout
from herald_runtime.connection import connect

SECRET = "benchmark-" + "3" * 32
RATE = 50  # messages per second
_TEXT = "message {n}: who answers?"


def measure(plan: Plan, _: frozenset[str]) -> Measured:
    ports, folder, rounds = Ports(), plan.folder("switching"), max(1, (plan.rounds + 1) // 2)
    steady: list[Stretch] = []
    switched: list[Stretch] = []
    plan.say("P13: herald up, with workers of two revisions ...")
    with ExitStack() as stack:
        driver = stack.enter_context(Driver(folder / "load.log", reply_port=ports.pick(), secret=SECRET))
        herald = stack.enter_context(
            whole.running(folder, ports=ports, reply_url=driver.reply_url, secret=SECRET, sync="always")
        )
        shipped = herald.settings("agent")
        settings = AgentSettings.load(shipped[0])
        for number, file in enumerate(shipped):
            stack.enter_context(_other_worker(folder, file, number, ports))
        revisions = (settings.revision, _other(settings.revision))
        for number in range(2 * rounds + 1):
            # Round 0 warms up. Then one stretch as it is, and one with a switch in its middle, to and fro.
            seconds = plan.seconds(8 if number else 3)
            order = Order(RATE, seconds, f"switch-{number}", _TEXT, port=herald.port, path=whole.PATH)
            after = revisions[number // 2 % 2]
            with _switched(settings, after, seconds / 2) if number and number % 2 == 0 else _left_alone():
                seen = driver.run(order)
            if number:
                (switched if number % 2 == 0 else steady).append(seen)
                plan.say(f"P13: longest silence {seen.silence:.0f} ms, slowest reply {seen.highest:.0f} ms")
    return _judged(steady, switched)


def _judged(steady: list[Stretch], switched: list[Stretch]) -> Measured:
    silence = over_rounds([s.silence / 1e3 for s in switched])
    calm = over_rounds([s.silence / 1e3 for s in steady])
    lost = sum(s.lost for s in switched)
    doubled = sum(s.doubled + s.strangers for s in switched)
    exactly = over_rounds([float(lost + doubled)])
    findings = (
        Finding("P13.switch", silence, f"{silence.value * 1e3:.0f} ms", f"{calm.value * 1e3:.0f} ms", f"{RATE}/s"),
        Finding("P13.switch_exact", exactly, f"{lost} lost, {doubled} doubled", "", f"{len(switched)} switches"),
    )
    rows = tuple(
        (
            name,
            f"{over_rounds([s.silence for s in seen]).value:.0f}",
            f"{max(s.silence for s in seen):.0f}",
            f"{over_rounds([s.p50 for s in seen]).value:.1f}",
            f"{max(s.highest for s in seen):.0f}",
            f"{ratio([s.p99 for s in seen], [s.p99 for s in steady]).value:.2f}",
        )
        for name, seen in (("no switch", steady), ("a switch in the middle", switched))
    )
    columns = ("", "longest silence ms", "the worst", "reply P50 ms", "slowest reply ms", "P99 / P99 without")
    return Measured(findings, (Table("P13: a switch between revisions under load", columns, rows),))


def _other(revision: str) -> str:
    return f"{revision}-other"


@contextmanager
def _other_worker(folder: Path, shipped: Path, number: int, ports: Ports) -> Iterator[None]:
    """A worker as the running ones, of another revision. Raises Failed."""
    settings = json.loads(shipped.read_text())
    settings |= {"revision": _other(settings["revision"]), "health_port": ports.pick()}
    file = folder / f"other-{number}.json"
    file.write_text(json.dumps(settings))
    argv = [sys.executable, "-m", "herald_agent", "--settings", str(file)]
    with Child(f"other worker {number}", argv, log=folder / f"other-{number}.log") as child:
        child.wait_until(lambda: status(settings["health_port"], "/healthz/ready") == 200, seconds=60)
        yield


@contextmanager
def _switched(settings: AgentSettings, revision: str, after: float) -> Iterator[None]:
    """Make `revision` the active one so many seconds into the block. Raises Failed."""
    trouble: list[Exception] = []

    def switch() -> None:
        time.sleep(after)
        try:
            asyncio.run(_activate(settings, revision))
        except (HeraldError, NatsError, OSError) as e:
            trouble.append(e)

    thread = Thread(target=switch, name="switch")
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if trouble:
        raise Failed(f"no switch to {revision}: {trouble[0]}")


@contextmanager
def _left_alone() -> Iterator[None]:
    yield


async def _activate(settings: AgentSettings, revision: str) -> None:
    client = await connect(settings.nats, "benchmark")
    try:
        await rollout.activate(client, settings.names, revision)
    finally:
        await client.close()
