"""P12: what a gateway and a worker take when nothing happens, and how long they need to be ready."""

import json
import sys
import time

from benchmarks import herald as whole
from benchmarks.figures import Figure, over_rounds
from benchmarks.goals import Finding, Measured, Table
from benchmarks.herald import Herald
from benchmarks.plan import Plan
from benchmarks.probing import status
from benchmarks.processes import Child
from herald_cli.ports import Ports

SECRET = "benchmark-" + "2" * 32
_MB = 1e6
CONNECTED = {"gateway": "NATS connected", "worker": "NATS, PostgreSQL, model and memory connected"}


def measure(plan: Plan, _: frozenset[str]) -> Measured:
    """A second gateway and a third worker join a running platform with the settings it rendered, but for the port."""
    ports, folder = Ports(), plan.folder("idle")
    seconds: dict[str, list[float]] = {"gateway": [], "worker": []}
    resident: dict[str, list[float]] = {"gateway": [], "worker": []}
    plan.say("P12: herald up ...")
    up = whole.running(folder, ports=ports, reply_url="http://127.0.0.1:9/replies", secret=SECRET, sync="always")
    with up as herald:
        for number in range(plan.rounds):
            for part in ("gateway", "worker"):
                ready, rss = _once(plan, herald, ports, part)
                seconds[part].append(ready)
                resident[part].append(rss / _MB)
            plan.say(
                f"P12: round {number + 1}: gateway {resident['gateway'][-1]:.0f} MB, {seconds['gateway'][-1]:.2f} s; "
                f"worker {resident['worker'][-1]:.0f} MB, {seconds['worker'][-1]:.2f} s"
            )
    findings: list[Finding] = []
    for part in ("gateway", "worker"):
        memory, start = over_rounds(resident[part]), over_rounds(seconds[part])
        findings.append(Finding(f"P12.{part}_rss", memory, f"{memory.value:.0f} MB", "", CONNECTED[part]))
        findings.append(Finding(f"P12.{part}_ready", start, f"{start.value:.2f} s", "", "fork to /healthz/ready 200"))
    return Measured(tuple(findings), (_table(resident, seconds),))


def _once(plan: Plan, herald: Herald, ports: Ports, part: str) -> tuple[float, int]:
    """Seconds until ready, and resident bytes some seconds after that."""
    if part == "gateway":
        module, key, shipped = "herald_gateway", "port", herald.settings("gateway")[0]
    else:
        module, key, shipped = "herald_agent", "health_port", herald.settings("agent")[0]
    settings = json.loads(shipped.read_text())
    settings[key] = ports.pick()
    settings["health_port"] = settings[key] if key == "health_port" else ports.pick()
    file = plan.folder("idle") / f"{part}.json"
    file.write_text(json.dumps(settings))
    argv = [sys.executable, "-m", module, "--settings", str(file)]
    with Child(part, argv, log=plan.folder("idle") / f"{part}.log") as child:
        ready = child.wait_until(lambda: status(settings[key], "/healthz/ready") == 200)
        time.sleep(plan.seconds(4))
        return ready, child.resident_bytes()


def _table(resident: dict[str, list[float]], seconds: dict[str, list[float]]) -> Table:
    def row(name: str, figure: Figure) -> tuple[str, ...]:
        return (name, *(f"{value:.2f}" for value in (figure.value, figure.low, figure.high)))

    rows = [row(f"{part}, resident MB", over_rounds(values)) for part, values in resident.items()]
    rows += [row(f"{part}, seconds to ready", over_rounds(values)) for part, values in seconds.items()]
    return Table("P12: idle", ("", "median", "lowest", "highest"), tuple(rows))
