"""Real processes: a shell that says something, a sleep that is ended."""

import dataclasses
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.cluster.processes import Died, Processes, Program, end, marked, parse_record, reap
from tools.cluster.trouble import Trouble

from herald_cli.processes import look_up

BOOT = "e910c4f6-cf8c-4a5f-8ec4-4846c1910817"
STAT = "6028 (sh) R 6009 6028 6028 0 -1 4194304 66 0 0 0 0 0 0 0 20 0 1 0 2542432 2654208 403"
FOREVER = ("sleep", "3600")


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    with (tmp_path / "lock").open("w") as handle:
        yield handle.fileno()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path, tmp_path / "processes", tmp_path / "logs")
    yield made
    made.kill(made.recorded())
    made.sweep()


def recorded(processes: Processes, name: str) -> bool:
    """Whether the program has become itself: until then its record may not be there."""
    return name in processes.recorded()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{BOOT} {STAT}\n", (6028, 2542432)),
        (f"{BOOT} {STAT.replace('(sh)', '(a (b) c)')}", (6028, 2542432)),
        (f"another-boot {STAT}", None),
        (f"{BOOT} 6028 (sh) R 1", None),
        (BOOT, None),
        ("", None),
    ],
)
def test_a_record_counts_only_whole_and_in_its_own_boot(text: str, expected: tuple[int, int] | None) -> None:
    found = parse_record(text, BOOT)
    assert (None if found is None else (found.pid, found.started)) == expected


def test_started_is_found_and_killed(processes: Processes, lock: int) -> None:
    processes.start(Program("one", FOREVER), lock)
    processes.wait("one", lambda: recorded(processes, "one"), ["one"])
    process = processes.recorded()["one"]
    assert processes.alive("one")
    processes.kill(["one", "never started"])
    assert not process.alive()
    assert processes.recorded() == {}


def test_another_process_with_our_old_pid_is_left_alone(processes: Processes, lock: int, tmp_path: Path) -> None:
    """The kernel gives a pid out again; then its start time is another."""
    stranger = subprocess.Popen(FOREVER)
    try:
        now = look_up(stranger.pid)
        assert now is not None
        (tmp_path / "processes").mkdir()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{stranger.pid}/stat").read_text().replace(str(now.started), str(now.started - 1))
        (tmp_path / "processes" / "old").write_text(f"{boot} {stat}")
        assert processes.recorded() == {"old": dataclasses.replace(now, started=now.started - 1)}
        assert not processes.alive("old")
        processes.kill(["old"])
        assert now.alive()
        assert processes.recorded() == {}
    finally:
        stranger.kill()
        stranger.wait()


def test_what_it_started_in_turn_carries_the_mark(processes: Processes, lock: int, tmp_path: Path) -> None:
    script = f"setsid sleep 3600 & echo $! >{tmp_path}/child; exec sleep 3600"
    processes.start(Program("parent", ("/bin/sh", "-c", script)), lock)
    child = tmp_path / "child"
    processes.wait("its child", lambda: child.exists() and child.read_text().strip() != "", ["parent"])
    processes.kill(["parent"])
    left = marked(str(tmp_path))
    assert [p.pid for p in left] == [int(child.read_text())]
    processes.sweep()
    assert not any(p.alive() for p in left)


def test_a_mark_is_compared_as_a_whole(processes: Processes, lock: int, tmp_path: Path) -> None:
    processes.start(Program("one", FOREVER), lock)
    processes.wait("one", lambda: bool(marked(str(tmp_path))), ["one"])
    assert marked(str(tmp_path)[:-1]) == []
    assert marked(f"{tmp_path}/") == []


def test_who_dies_at_its_start_is_named_with_its_last_words(processes: Processes, lock: int) -> None:
    words = "echo too early; echo port 1 is taken; exit 3"
    processes.start(Program("liar", ("/bin/sh", "-c", words)), lock)
    with pytest.raises(Died) as caught:
        processes.wait("liar", lambda: False, ["liar"])
    text = str(caught.value)
    assert text.startswith("liar ended:")
    assert "port 1 is taken" in text
    assert text.splitlines()[-1].strip() == f"read all of it: less {processes.log('liar')}"


def test_a_program_that_is_not_there_is_said_to_be(processes: Processes, lock: int) -> None:
    processes.start(Program("ghost", ("/nonexistent/ghost",)), lock)
    with pytest.raises(Died, match="/nonexistent/ghost"):
        processes.wait("ghost", lambda: False, ["ghost"])


def test_waiting_has_an_end(processes: Processes) -> None:
    with pytest.raises(Trouble, match="the moon: not ready"):
        processes.wait("the moon", lambda: False, [], within=0)


def test_nothing_of_the_environment_leaks_in(processes: Processes, lock: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_NAME", "surprise")
    processes.start(Program("one", FOREVER, {"WANTED": "1"}), lock)
    processes.wait("one", lambda: recorded(processes, "one"), ["one"])
    pid = processes.recorded()["one"].pid
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"WANTED=1" in environment
    assert b"ETCD_NAME" not in environment


def test_who_takes_the_lock_afterwards_sees_the_record(processes: Processes, tmp_path: Path) -> None:
    """The new process holds the lock until its record is written, even if its starter is gone by then."""
    import fcntl

    with (tmp_path / "lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        processes.start(Program("one", FOREVER), first.fileno())
    with (tmp_path / "lock").open("w") as second:
        fcntl.flock(second, fcntl.LOCK_EX)
        assert processes.alive("one")


def test_a_frozen_process_is_woken(processes: Processes, lock: int) -> None:
    processes.start(Program("one", FOREVER), lock)
    processes.wait("one", lambda: recorded(processes, "one"), ["one"])
    state = Path(f"/proc/{processes.recorded()['one'].pid}/stat")

    def letter() -> str:
        return state.read_text().rpartition(")")[2].split()[0]

    processes.send("one", signal.SIGSTOP)
    processes.wait("frozen", lambda: letter() == "T", [])
    processes.send("one", signal.SIGCONT)
    processes.wait("awake", lambda: letter() != "T", [])


def test_ending_the_dead_is_no_error() -> None:
    child = subprocess.Popen(["true"])
    process = look_up(child.pid)
    child.wait()
    if process is not None:
        end([process])
        reap(process)
    assert os.getpid() not in [p.pid for p in marked("nobody")]
