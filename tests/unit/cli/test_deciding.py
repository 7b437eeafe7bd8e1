"""Small decisions: how long to wait, what an error becomes, what is left alone."""

from pathlib import Path

import pytest

from herald_cli import guard, leftovers
from herald_cli.backoff import HEALTHY, LONGEST, Backoff
from herald_cli.board import Board
from herald_cli.keeper import StartFailed
from herald_cli.rim import explain
from herald_cli.state import AlreadyRunning, Choices, Component, NotRunning, Snapshot, StateFolder
from herald_cli.style import printable, seconds, table
from herald_contracts.errors import ConfigurationError, HeraldError, TemporaryError
from tests.unit.cli.deployments import snapshot


def test_the_first_restart_is_quick_and_later_ones_slower() -> None:
    delays, backoff = [], Backoff()
    for _ in range(9):
        backoff = backoff.after(0)
        delays.append(backoff.delay)
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, LONGEST, LONGEST, LONGEST]


def test_a_healthy_minute_is_a_fresh_start() -> None:
    tired = Backoff(failures=8)
    assert tired.after(HEALTHY - 1).delay == LONGEST
    assert tired.after(HEALTHY).delay == Backoff().after(0).delay


def test_nothing_failed_nothing_waits() -> None:
    assert Backoff().delay == 0


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ConfigurationError("bad", path="spec.x", hint="do y"), 78, "spec.x: bad (do y)"),
        (TemporaryError("later"), 75, "later"),
        (HeraldError("no"), 1, "no"),
        (AlreadyRunning(StateFolder(Path("/s")).root, 7), 1, "herald down"),
        (NotRunning(StateFolder(Path("/s")).root), 1, "herald up -f FILE"),
        (StartFailed("triton did not start"), 1, "herald doctor"),
    ],
)
def test_every_error_says_what_to_do_and_has_a_code(error: HeraldError, code: int, says: str) -> None:
    text, found = explain(error)
    assert found == code
    assert says in text


def test_the_board_tells_only_of_changes() -> None:
    told: list[Snapshot] = []
    board = Board(snapshot(Component(name="nats"), Component(name="gateway")))
    board.tell(told.append)
    board.update("nats", state="ready")
    board.update("nats", state="ready")
    board.phase("running")
    assert [s.components[0].state for s in told] == ["waiting", "ready"]
    assert board.component("gateway").state == "waiting"
    assert len(told) == 2, "the phase was running already"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.9, "12 s"), (61, "1 min 1 s"), (7_260, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 中 🙂\n\tnext", "plain ü 中 🙂\n\tnext"),
        ("\x1b[31mred\x1b[0m", "�[31mred�[0m"),
        ("a\x00b\x07\x9b", "a�b��"),
        ("left\u202eright\u200b", "left�right�"),
    ],
)
def test_what_strangers_write_cannot_drive_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_table() -> None:
    assert table([["a", "bb"], ["ccc", ""]]) == ["a    bb", "ccc"]
    assert table([]) == []


def test_only_our_own_shared_memory_is_ever_swept() -> None:
    assert leftovers.litter(Choices(id="abc")) == "herald-abc-"
    for foreign in ("", "PostgreSQL", "triton_python_backend_shm_region_", "../herald-", "*"):
        assert guard.sweep(foreign) == 0


def test_the_guard_forgets_what_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[list[int]] = []
    monkeypatch.setattr(guard, "end", lambda watched: ended.append([leader.pid for leader, _ in watched]))
    guard.guard(["watch 10 1 herald-x-\n", "watch 11 1\n", "forget 10\n", "nonsense\n"])
    guard.guard(["watch 10 1\n", "farewell\n"])
    assert ended == [[11]]
