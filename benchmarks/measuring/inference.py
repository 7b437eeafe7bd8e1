"""P9: what our client and Triton add to a model, and what Triton's batching takes away."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

from benchmarks import servers
from benchmarks.figures import Figure, over_rounds, ratio
from benchmarks.goals import Finding, Measured, Table
from benchmarks.plan import Plan
from benchmarks.processes import Child, Failed
from benchmarks.triton_figures import CLIENTS, STREAMS, TOKEN_SECONDS, TOKENS, Round
from herald_cli import guard
from herald_cli.ports import Ports
from herald_cli.servers import triton as recipe

HERE = Path(__file__).parent.parent
REPOSITORY = HERE.parent / "inference" / "local"
# One name for all runs: the next one removes what a killed one left in shared memory.
_LITTER = f"{guard.PREFIX}bench-"
_BATCHING = re.compile(r"^dynamic_batching \{[^\n]*\}$", re.MULTILINE)
_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 32
{batching}
instance_group [ {{ count: 1, kind: KIND_CPU }} ]
input [ {{ name: "value", data_type: TYPE_FP32, dims: [ 1 ] }} ]
output [ {{ name: "result", data_type: TYPE_FP32, dims: [ 1 ] }} ]
"""


def measure(plan: Plan, _: frozenset[str]) -> Measured:
    folder, ports = plan.folder("inference"), Ports()
    program = recipe.program(
        folder / "triton",
        repository=_repository(folder / "models"),
        models=("scripted", "step", "step_batched"),
        parameters={},
        grpc_port=ports.pick(),
        http_port=ports.pick(),
        litter=_LITTER,
    )
    plan.say("P9: starting Triton")
    rounds = []
    with servers.run(program, folder / "triton.log"):
        argv = [
            *(sys.executable, "-m", "benchmarks.triton_client", "--address", program.address),
            *("--rounds", str(plan.rounds), "--scale", str(plan.seconds(1))),
        ]
        environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        with Child(
            "triton client", argv, log=folder / "client.log", core=plan.client_core, env=environment, piped=True
        ) as client:
            for number in range(plan.rounds):
                rounds.append(Round(**json.loads(client.result())))
                plan.say(f"P9: round {number + 1}: {rounds[-1]}")
    return _judge(rounds)


def _judge(rounds: list[Round]) -> Measured:
    token = TOKEN_SECONDS * 1e3
    batched, unbatched = [r.batched for r in rounds], [r.unbatched for r in rounds]
    slowest = max(ms for r in rounds for ms in r.cancels)
    overhead = over_rounds([r.overhead for r in rounds])
    gaps = [r.between for r in rounds]
    findings = (
        Finding(
            "P9.overhead", overhead, f"{overhead.value:.2f} ms", "0 ms: the scripted model at once", "one at a time"
        ),
        Finding(
            "P9.batching",
            ratio(batched, unbatched),
            f"{over_rounds(batched).value:,.0f}/s",
            f"{over_rounds(unbatched).value:,.0f}/s",
            "20 ms + 0.3 ms per row; batching as inference/local/embedder has it",
        ),
        Finding(
            "P9.between",
            ratio(gaps, [token] * len(gaps)),
            f"{over_rounds(gaps).value:.1f} ms",
            f"{token:g} ms",
            f"{STREAMS} streams of {TOKENS} tokens, P50",
        ),
        Finding(
            "P9.cancel",
            Figure(slowest, slowest, slowest),
            f"{slowest:.0f} ms",
            "",
            f"slowest of {sum(len(r.cancels) for r in rounds)}, seen in the model's own counter",
        ),
    )
    rows = tuple(
        (name, *(f"{v:.1f}" for v in (figure.value, figure.low, figure.high)))
        for name, figure in (
            ("client call, model of no time, P50 ms", overhead),
            ("client call, model of no time, P99 ms", over_rounds([r.overhead_p99 for r in rounds])),
            ("between tokens, 1 stream, P50 ms", over_rounds([r.between_one for r in rounds])),
            (f"between tokens, {STREAMS} streams, P50 ms", over_rounds(gaps)),
            (f"first token, {STREAMS} streams, P50 ms", over_rounds([r.first for r in rounds])),
            ("cancel seen by the model, ms", over_rounds([ms for r in rounds for ms in r.cancels])),
            (f"unbatched, {CLIENTS} clients, requests/s", over_rounds(unbatched)),
            (f"batched, {CLIENTS} clients, requests/s", over_rounds(batched)),
        )
    )
    return Measured(findings, (Table("P9: Triton", ("", "median", "lowest", "highest"), rows),))


def _repository(folder: Path) -> Path:
    """The scripted model as it ships, and the step model twice: alone, and batched as the embedder is."""
    shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns("__pycache__", "tensorrt_llm", "embedder"))
    shipped = _BATCHING.search((REPOSITORY / "embedder" / "config.pbtxt").read_text())
    if shipped is None:
        raise Failed("no dynamic_batching in inference/local/embedder/config.pbtxt")
    for name, batching in (("step", ""), ("step_batched", shipped.group())):
        version = folder / name / "1"
        version.mkdir(parents=True)
        shutil.copy(HERE / "step" / "model.py", version / "model.py")
        (folder / name / "config.pbtxt").write_text(_CONFIG.format(name=name, batching=batching))
    return folder
