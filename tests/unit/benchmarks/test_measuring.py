"""The parts of measuring that decide: what is changed on a server, what /proc says, what a quick run shortens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import processes
from benchmarks.measuring.workers import message
from benchmarks.plan import Plan
from benchmarks.processes import Child, Failed
from benchmarks.servers import synced

from herald_cli.servers.program import File, Program
from herald_contracts.messages import Message


def program(config: str) -> Program:
    return Program(name="nats", argv=("nats-server",), cwd=Path(), files=(File(Path("nats.conf"), config),))


def test_only_the_sync_interval_is_changed() -> None:
    recipe = program("jetstream {\n  sync_interval: always\n  max_file_store: 9\n}\n")
    assert synced(recipe, "always") is recipe
    assert synced(recipe, "2m").files[0].content == 'jetstream {\n  sync_interval: "2m"\n  max_file_store: 9\n}\n'


def test_a_recipe_that_does_not_sync_is_noticed() -> None:
    with pytest.raises(Failed, match="sync_interval"):
        synced(program("jetstream {}\n"), "2m")


def test_cpu_and_memory_of_a_process_are_the_kernels() -> None:
    before = processes.cpu_seconds(os.getpid())
    while processes.cpu_seconds(os.getpid()) < before + 0.02:
        sum(range(10_000))
    assert 1 << 20 < processes.resident_bytes(os.getpid()) < 1 << 40
    assert os.getpid() in processes.tree(os.getppid())


def test_the_cpu_of_a_tree_counts_children_that_have_ended() -> None:
    before, own = processes.tree_cpu_seconds(os.getpid()), processes.cpu_seconds(os.getpid())
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    spent = processes.tree_cpu_seconds(os.getpid()) - before
    assert spent - (processes.cpu_seconds(os.getpid()) - own) >= 0.18


def test_a_child_reports_past_its_logs_and_is_ended(tmp_path: Path) -> None:
    code = "print('a log line'); from benchmarks.processes import report; report({'n': 1}); input()"
    environment = {**os.environ, "PYTHONPATH": str(Path(processes.__file__).parents[1])}
    child = Child("child", [sys.executable, "-c", code], log=tmp_path / "log", env=environment, piped=True)
    with child:
        assert child.result() == '{"n": 1}\n'
        assert child.process.poll() is None
    assert child.process.poll() is not None


def test_a_child_that_ends_early_is_told_with_its_last_lines(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import sys; sys.exit('no such port')"]
    with Child("child", argv, log=tmp_path / "log") as child:
        child.process.wait(20)
        with pytest.raises(Failed, match="child ended with 1: no such port"):
            child.wait_until(lambda: False)


def test_a_quick_run_is_shorter_and_never_empty() -> None:
    whole, quick = Plan(Path(), 5), Plan(Path(), 5, quick=True)
    assert (whole.seconds(6), whole.count(80)) == (6, 80)
    assert (quick.seconds(6), quick.count(80), quick.count(1)) == (1, 10, 1)


def test_the_messages_of_p3_are_real_ones_in_eights() -> None:
    made = [message(n) for n in range(16)]
    assert Message.from_wire(made[5].to_wire()) == made[5]
    assert len({m.conversation for m in made}) == 2
    assert len({m.id for m in made}) == 16


def test_the_command_refuses_a_goal_that_does_not_exist() -> None:
    root = Path(processes.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "P77"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no goal 'P77'; there are P1, P2" in done.stderr
