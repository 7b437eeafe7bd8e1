"""How it starts, ends, is killed, and starts again."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from herald_cli import plan, processes
from herald_cli.state import StateFolder
from herald_contracts.settings import GatewaySettings
from tests.integration.cli.running import Herald
from tests.waiting import eventually_sync

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def _default_port_taken() -> Iterator[None]:
    """By us, or by whoever has it: so that a Herald gets a port that no other takes from it meanwhile."""
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            ours.bind(("127.0.0.1", plan.GATEWAY_PORT))
            ours.listen()
        yield


@pytest.mark.usefixtures("_default_port_taken")
def test_down_leaves_nothing_and_up_finds_everything_again(herald: Herald) -> None:
    herald.up()
    assert not herald.json("status")["gateway"].endswith(f":{plan.GATEWAY_PORT}"), "a free one where that is taken"
    first = herald.json("status")
    family = herald.family()
    assert len(family) > 6
    assert herald.litter
    sent = herald.json("send", "before")
    told = herald.run("down")
    assert "Herald is down." in told.stdout
    assert processes.wait_gone(family, 5) == ()
    assert herald.litter == []
    for command in (["status"], ["ledger"], ["send", "x"], ["dead-letters", "list"]):
        assert "herald up -f FILE" in herald.run(*command, code=1).stderr
    assert "was not running" in herald.run("down").stdout

    herald.up()
    again = herald.json("status")
    assert again["gateway"] == first["gateway"], "its address stays"
    assert [m["event_id"] for m in herald.json("ledger", "--messages")["messages"]] == [sent["event"]]
    assert herald.json("send", "after")["reply"]["text"] == "echo: after"


def test_a_changed_file_is_another_revision_and_answers(herald: Herald) -> None:
    """Its workers take work only because `herald up` made their revision the active one, each time."""
    herald.up()
    first = herald.json("status")["revision"]
    assert herald.json("send", "one")["record"]["revision"] == first
    herald.run("down")
    herald.file.write_text(herald.file.read_text().replace("You answer.", "You answer otherwise."))
    herald.up()
    second = herald.json("status")["revision"]
    assert second != first
    assert herald.json("send", "two")["record"]["revision"] == second
    worker = herald.components()["agent-1"]["address"]
    with urllib.request.urlopen(f"{worker}/healthz/ready", timeout=10) as answer:
        said = json.load(answer)
    assert (said["active"], said["revision"], said["taking"]) == (second, second, True)
    settings = GatewaySettings.load(herald.state / "settings" / "gateway.json")
    with urllib.request.urlopen(f"http://127.0.0.1:{settings.health_port}/metrics", timeout=10) as answer:
        assert b"herald_gateway_accepted_total" in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{herald.json('status')['gateway']}/metrics", timeout=10)


def test_its_own_kill_leaves_no_orphan_and_no_litter(herald: Herald) -> None:
    herald.up()
    accepted = herald.run("send", "[[first=5]] survive", "--timeout", "0.3", code=75)
    assert "the message is accepted" in accepted.stderr
    family = herald.family()
    os.kill(herald.json("status")["pid"], signal.SIGKILL)
    assert processes.wait_gone(family, 15) == (), "the kernel and the guard end them"
    eventually_sync(lambda: herald.litter == [], what="no litter")
    assert "herald up -f FILE" in herald.run("status", code=1).stderr

    herald.up()
    sent = herald.json("send", "next")  # takes the old reply, too, when it comes
    assert sent["reply"]["text"] == "echo: next"
    ledger = herald.json("ledger")
    assert (ledger["accepted"], ledger["answered"]) == (2, 2)


def test_killed_together_with_its_guard_the_next_start_cleans_up(herald: Herald) -> None:
    herald.up()
    supervisor = StateFolder(herald.state).running().process
    family = processes.tree(supervisor)
    guards = [p for p in family if "herald_cli.guard" in Path(f"/proc/{p.pid}/cmdline").read_text()]
    assert len(guards) == 1
    processes.kill([*guards, supervisor])
    stubs = [p for p in family if p.alive() and p not in (*guards, supervisor)]
    told = herald.up().stderr
    assert processes.wait_gone(family, 0) == ()
    if any(p.alive() for p in stubs):
        assert "that an earlier run had left behind" in told
    assert herald.json("send", "hello")["state"] == "answered"


def test_down_after_such_a_kill_cleans_up_too(herald: Herald) -> None:
    herald.up()
    supervisor = StateFolder(herald.state).running().process
    family = processes.tree(supervisor)
    guards = [p for p in family if "herald_cli.guard" in Path(f"/proc/{p.pid}/cmdline").read_text()]
    children = [c.process for c in StateFolder(herald.state).running().components if c.process is not None]
    assert len(children) >= 5
    processes.kill([*guards, supervisor])
    assert processes.wait_gone([supervisor, *children], 15) == (), "the kernel ends what it has started itself"
    assert "was not running" in herald.run("down").stdout
    assert processes.wait_gone(family, 5) == ()
    assert herald.litter == []


def test_in_the_foreground_ctrl_c_stops_everything_in_order(herald: Herald) -> None:
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [*herald.command, "up", "-f", str(herald.file), "--state", str(herald.state)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(terminal)
        seen = read_until(controller, b"Herald is ready.", 90)
        assert b"worker 1" in seen
        family = herald.family()
        os.write(controller, b"\x03")
        seen = read_until(controller, b"Stopped.", 60)
        assert b"Stopping" in seen
        assert process.wait(30) == 0
    os.close(controller)
    assert processes.wait_gone(family, 5) == ()
    assert herald.litter == []


def read_until(handle: int, wanted: bytes, seconds: float) -> bytes:
    seen, deadline = b"", time.monotonic() + seconds
    while wanted not in seen:
        assert time.monotonic() < deadline, seen[-2000:]
        seen += os.read(handle, 65_536)
    return seen


def test_the_gateway_stops_before_the_workers_and_these_before_the_servers(herald: Herald) -> None:
    herald.up()
    herald.run("down")
    lines = [json.loads(line) for line in herald.run("logs", "--json", "-n", "500").stdout.splitlines()]
    own = [line for line in lines if line.get("logger") == "herald" and line["event"] == "stopped"]
    stopped = {line["component"]: line["timestamp"] for line in own}
    assert stopped["gateway"] < stopped["agent-1"]
    assert stopped["agent-1"] < min(stopped[name] for name in ("nats", "postgres", "triton"))


def test_two_state_folders_do_not_disturb_each_other(herald: Herald, tmp_path: Path) -> None:
    from tests.integration.cli.running import write_deployment

    other = Herald(tmp_path / "other", write_deployment(tmp_path / "other.yaml"))
    herald.up()
    try:
        other.up()
        assert other.json("send", "hello")["state"] == "answered"
        other.down()
        assert herald.json("send", "hello")["state"] == "answered"
        assert herald.json("ledger")["accepted"] == 1
    finally:
        other.down()


def test_the_demo_starts_asks_and_leaves_it_running(herald: Herald) -> None:
    told = herald.run("demo", "-f", str(herald.file), "--question", "Is anybody there?")
    assert "echo: Is anybody there?" in told.stdout
    assert "✓ answered" in told.stdout
    assert "herald down" in told.stdout
    pid = herald.json("status")["pid"]

    again = herald.run("demo", "-f", str(herald.file))
    assert f"Herald runs already (pid {pid})." in again.stdout
    assert "✓ answered" in again.stdout
    assert herald.json("ledger")["answered"] == 2
