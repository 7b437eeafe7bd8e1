"""Log files: always JSON lines, whoever wrote them, and never larger than they may be."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_cli import logfiles
from herald_cli.logfiles import Lines, RotatingLog
from tests.unit.cli.deployments import NOW


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("[31] 2026/11/22 15:46:01.1 [INF] Server is ready", "info"),
        ("[31] 2026/11/22 15:46:01.1 [ERR] Error trying to connect", "error"),
        ("[31] 2026/11/22 15:46:01.1 [WRN] Slow", "warning"),
        ("2026-11-22 15:46:01.1 UTC [4] LOG:  database system is ready", "info"),
        ("2026-11-22 15:46:01.1 UTC [4] FATAL:  the database system is starting up", "error"),
        ("2026-11-22 15:46:01.1 UTC [4] WARNING:  out of something", "warning"),
        ("2026-11-22T15:22:45Z E 15369 server.cc:241] \"CudaDriverHelper\"", "error"),
        ("2026-11-22T15:22:45Z W 15369 memory.cc:273] \"Unable\"", "warning"),
        ("2026-11-22T15:22:45Z I 15369 memory.cc:273] \"fine\"", "info"),
        ("E1122 15:22:45.513216 15384 pb_stub.cc:2105] Failed", "error"),
        ("Traceback (most recent call last):", "error"),
        ("ImportError: no such module", "error"),
        ("everything is fine, no ERROR here", "info"),
    ],
)  # fmt: skip
def test_a_servers_own_words_tell_the_level(line: str, level: str) -> None:
    value = json.loads(logfiles.entry("nats", line, NOW))
    assert value == {"component": "nats", "event": line, "level": level, "timestamp": "2026-11-22T12:00:00Z"}


def test_a_services_line_passes_through_under_its_components_name() -> None:
    line = '{"component":"agent","event":"started","level":"warning","timestamp":"2026-11-22T15:00:00Z","port":1}'
    value = json.loads(logfiles.entry("agent-2", line, NOW))
    assert value == {
        "component": "agent-2",
        "event": "started",
        "level": "warning",
        "timestamp": "2026-11-22T15:00:00Z",
        "port": 1,
    }


@given(line=st.text(max_size=200))
def test_whatever_is_said_becomes_one_line_of_json(line: str) -> None:
    written = logfiles.entry("x", line, NOW)
    assert "\n" not in written
    assert "\r" not in written
    value = json.loads(written)
    assert value["component"] == "x"
    assert isinstance(value["event"], str)
    assert logfiles.parse(written).component == "x"


@given(raw=st.text(max_size=200))
def test_whatever_is_in_a_file_can_be_shown(raw: str) -> None:
    assert logfiles.parse(raw).raw == raw


@given(data=st.lists(st.binary(max_size=40), max_size=20))
def test_lines_do_not_depend_on_how_the_bytes_arrive(data: list[bytes]) -> None:
    cut, whole = Lines(), Lines()
    one_by_one = [line for piece in data for line in cut.feed(piece)] + list(cut.end())
    assert one_by_one == [*whole.feed(b"".join(data)), *whole.end()]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    lines = Lines()
    pieces = [piece for _ in range(10) for piece in lines.feed(b"x" * logfiles.MAX_LINE)]
    assert pieces
    assert max(map(len, pieces)) == logfiles.MAX_LINE


def test_rotation_keeps_the_newest_and_no_more_than_it_may(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "nats.log", max_bytes=100, kept=2)
    for number in range(100):
        log.write(logfiles.note("nats", f"{number:02}", "info", NOW)[:40])
    log.close()
    files = logfiles.files_of(tmp_path, "nats")
    assert [f.name for f in files] == ["nats.log.2", "nats.log.1", "nats.log"]
    assert all(f.stat().st_size <= 100 for f in files)


def test_last_lines_reach_back_into_rotated_files(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "nats.log", max_bytes=400, kept=3)
    for number in range(12):
        log.write(logfiles.entry("nats", f"line {number}", NOW))
    log.close()
    assert len(logfiles.files_of(tmp_path, "nats")) > 1
    assert [e.event for e in logfiles.last_lines(tmp_path, "nats", 5)] == [f"line {n}" for n in range(7, 12)]


def test_a_reopened_log_goes_on(tmp_path: Path) -> None:
    for number in range(3):
        log = RotatingLog(tmp_path / "nats.log")
        log.write(f"{number}")
        log.close()
    assert (tmp_path / "nats.log").read_text() == "0\n1\n2\n"


def test_a_full_disk_loses_a_line_and_not_the_writer() -> None:
    log = RotatingLog(Path("/dev/full"))
    log.write("lost")
    log.close()


def test_a_component_is_not_another_whose_name_begins_the_same(tmp_path: Path) -> None:
    for name in ("agent-1", "agent-10"):
        log = RotatingLog(tmp_path / f"{name}.log")
        log.write(name)
        log.close()
    assert [f.name for f in logfiles.files_of(tmp_path, "agent-1")] == ["agent-1.log"]
    assert logfiles.components(tmp_path) == ["agent-1", "agent-10"]
