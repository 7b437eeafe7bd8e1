"""The state folder: one Herald at a time, notes that are whole or absent, nothing for others to read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from herald_cli import processes
from herald_cli.state import AlreadyRunning, Choices, Component, NotRunning, StateFolder
from herald_contracts.errors import ConfigurationError
from tests.unit.cli.deployments import snapshot


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    made = StateFolder(tmp_path / "state")
    made.create()
    return made


def test_only_its_owner_can_read_it(folder: StateFolder) -> None:
    for path in (folder.root, folder.secrets, folder.credentials, folder.logs, folder.settings):
        assert path.stat().st_mode & 0o777 == 0o700
    folder.write_snapshot(snapshot())
    assert folder.snapshot_file.stat().st_mode & 0o777 == 0o600


def test_a_second_herald_is_refused_with_the_first_ones_pid(folder: StateFolder) -> None:
    with folder.lock():
        assert folder.held()
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}") as refused, folder.lock():
            pass
        assert refused.value.pid == os.getpid()
    assert not folder.held()
    with folder.lock():
        pass


def test_the_lock_ends_with_its_process_however_that_ends(folder: StateFolder) -> None:
    script = (
        "import sys, pathlib, signal; from herald_cli.state import StateFolder\n"
        "with StateFolder(pathlib.Path(sys.argv[1])).lock():\n"
        "    print('held', flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(folder.root)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning, match=f"pid {other.pid}"), folder.lock():
            pass
        other.kill()
        other.wait()
    assert not folder.held()


def test_a_changed_file_is_mentioned(folder: StateFolder) -> None:
    folder.refuse_second(Path("agent.yaml"), "anything")  # nothing runs
    folder.write_snapshot(snapshot(digest="first"))
    with folder.lock():
        with pytest.raises(AlreadyRunning) as same:
            folder.refuse_second(Path("agent.yaml"), "first")
        assert "applies this one" not in str(same.value)
        with pytest.raises(AlreadyRunning, match=r"`herald down`, then `herald up -f agent\.yaml` applies this one"):
            folder.refuse_second(Path("agent.yaml"), "second")


def test_running_needs_a_lock_and_a_living_process(folder: StateFolder) -> None:
    with pytest.raises(NotRunning):
        folder.running()
    me = processes.look_up(os.getpid())
    assert me is not None
    folder.write_snapshot(snapshot(pid=me.pid, started=me.started))
    with pytest.raises(NotRunning):
        folder.running()  # its notes are there, nobody holds the lock
    with folder.lock():
        assert folder.running().pid == me.pid
        folder.write_snapshot(snapshot(pid=me.pid, started=me.started + 1))
        with pytest.raises(NotRunning):
            folder.running()  # the pid was given to somebody else


def test_notes_survive_their_file(folder: StateFolder) -> None:
    assert folder.snapshot() is None
    written = snapshot(Component(name="nats", state="ready", pid=7, started=8, litter="herald-x-"), phase="running")
    folder.write_snapshot(written)
    assert folder.snapshot() == written
    assert folder.choices().ports == {}
    folder.keep(Choices(ports={"nats": 20_001}, storage=5))
    assert folder.choices().ports == {"nats": 20_001}
    assert folder.choices().storage == 5


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2}', b"\xff\xfe"])
def test_a_snapshot_that_cannot_be_read_is_none(folder: StateFolder, content: bytes) -> None:
    folder.snapshot_file.write_bytes(content)
    assert folder.snapshot() is None


def test_broken_choices_are_not_silently_made_anew(folder: StateFolder) -> None:
    folder.choices_file.write_text("{")
    with pytest.raises(ConfigurationError, match=r"choices\.json: cannot be read"):
        folder.choices()


def test_ids_of_two_folders_differ() -> None:
    assert Choices().id != Choices().id


def test_a_file_in_the_way_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigurationError, match="state"):
        StateFolder(tmp_path / "state").create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_explained(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o500)
    with pytest.raises(ConfigurationError, match="--state"):
        StateFolder(tmp_path / "theirs" / "state").create()
