"""One running Herald and every command that looks at it or talks to it."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from herald_cli import processes
from tests.integration.cli.running import Herald, write_deployment
from tests.waiting import eventually_sync

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def herald(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herald]:
    folder = tmp_path_factory.mktemp("round-trip")
    spec = {"replicas": 2, "turnSeconds": 20, "memory": {"enabled": True}}
    running = Herald(folder / "state", write_deployment(folder / "agent.yaml", agent=spec))
    running.up()
    yield running
    running.down()


def test_status_knows_every_part(herald: Herald) -> None:
    status = herald.json("status")
    assert status["version"] == 1
    assert (status["phase"], status["ready"]) == ("running", True)
    parts = {c["name"]: c for c in status["components"]}
    assert list(parts) == [
        "nats", "postgres", "triton", "milvus", "streams", "database", "gateway", "agent-1", "agent-2",
    ]  # fmt: skip
    for part in parts.values():
        assert part["ready"]
        if part["kind"] == "process":
            assert processes.look_up(part["pid"]) is not None
            assert part["address"]
    assert "✓ all ready" in herald.run("status").stdout


def test_a_second_up_is_refused_with_the_pid_of_the_first(herald: Herald) -> None:
    pid = herald.json("status")["pid"]
    for arguments in (["up", "-f", str(herald.file)], ["up", "-f", str(herald.file), "--detach"]):
        told = herald.run(*arguments, code=1).stderr
        assert f"already runs from {herald.state} (pid {pid})" in told
        assert "herald down" in told
    assert herald.json("status")["pid"] == pid


def test_a_second_up_with_another_file_says_how_to_apply_it(herald: Herald, tmp_path: Path) -> None:
    other = write_deployment(tmp_path / "other.yaml", instructions="You answer otherwise.")
    told = herald.run("up", "-f", str(other), code=1).stderr
    assert f"`herald up -f {other}` applies this one" in told


@pytest.mark.parametrize("channel", ["hmac", "standard"])
def test_send_goes_all_the_way(herald: Herald, channel: str) -> None:
    sent = herald.json("send", "hello there", "--channel", channel)
    assert sent["state"] == "answered"
    assert sent["reply"]["kind"] == "answer"
    assert sent["reply"]["text"] == "echo: hello there"
    assert sent["record"]["event_id"] == sent["event"]
    assert sent["record"]["platform_message_id"]
    assert 0 < sent["accepted_after"] <= sent["answered_after"]


def test_send_shows_words_as_they_come(herald: Herald) -> None:
    told = herald.run("send", "[[tokens=6]] [[delay=0.2]] one two").stdout
    assert "accepted and durable" in told
    assert "echo: one two echo: one two" in told
    assert "first words" in told
    assert "signature good" in told
    sent = herald.json("send", "[[tokens=6]] [[delay=0.2]] one two")
    assert sent["first_text_after"] < sent["answered_after"] - 0.5


def test_send_to_a_channel_that_is_not_there(herald: Herald) -> None:
    told = herald.run("send", "hello", "--channel", "hmca", code=78).stderr
    assert "there is no channel 'hmca'" in told
    assert "signed channels: hmac, standard" in told


def test_send_gives_up_with_the_next_command_and_loses_nothing(herald: Herald) -> None:
    told = herald.run("send", "[[first=3]] slow", "--timeout", "0.5", "--conversation", "slow", code=75).stderr
    assert "no answer within 0.5 s; the message is accepted" in told
    assert "herald ledger --messages" in told
    # Its reply comes to the next one who listens there, who takes it and goes on waiting for its own.
    assert herald.json("send", "next", "--conversation", "slow")["reply"]["text"] == "echo: next"


def test_the_ledger_counts_what_was_sent(herald: Herald) -> None:
    before = herald.json("ledger")
    sent = herald.json("send", "count me")
    after = herald.json("ledger", "--messages")
    assert after["accepted"] == before["accepted"] + 1
    assert after["answered"] >= before["answered"] + 1
    assert after["balanced"]
    assert after["complete"]
    newest = after["messages"][0]
    assert newest["event_id"] == sent["event"]
    assert newest["state"] == "answered"
    assert newest["revision"] == herald.json("status")["revision"]
    assert newest["received_at"] <= newest["started_at"] <= newest["finished_at"] <= newest["delivered_at"]
    assert "✓ accepted = the sum of the others" in herald.run("ledger").stdout
    only = herald.json("ledger", "--state-is", "answered", "--limit", "1")
    assert [m["state"] for m in only["messages"]] == ["answered"]


def test_a_dead_letter_is_listed_shown_and_replayed(herald: Herald) -> None:
    sent = herald.json("send", "[[refuse]] never", code=1)
    assert sent["reply"]["kind"] == "failure"
    letters = herald.json("dead-letters", "list")["letters"]
    letter = next(one for one in letters if one["event"] == sent["event"])
    assert letter["source"] == "turn"
    assert letter["reason"]
    shown = herald.json("dead-letters", "show", str(letter["id"]))["letter"]
    assert "[[refuse]] never" in shown["payload"]
    assert sent["event"] in herald.run("dead-letters", "list").stdout
    assert "[[refuse]] never" in herald.run("dead-letters", "show", str(letter["id"])).stdout
    replayed = herald.json("dead-letters", "replay", str(letter["id"]))["replayed"]
    assert [one["id"] for one in replayed] == [letter["id"]]
    assert "was replayed at" in herald.run("dead-letters", "replay", str(letter["id"]), code=1).stderr
    eventually_sync(
        lambda: [x for x in herald.json("dead-letters", "list")["letters"] if x["event"] == sent["event"]],
        what="it failed again: a new letter",
    )
    assert "no dead letter 999999" in herald.run("dead-letters", "show", "999999", code=1).stderr


def test_the_doctor_uses_every_part(herald: Herald) -> None:
    report = herald.json("doctor")
    assert report["healthy"], report
    verdicts = {check["check"]: check["verdict"] for check in report["checks"]}
    assert set(verdicts) == {
        "disk", "shared memory", "packages", "state folder", "supervisor", "nats", "postgres", "schema", "clock",
        "model", "gateway", "workers", "ledger", "triton", "milvus",
    }  # fmt: skip
    assert "failed" not in verdicts.values()
    left = [line for line in herald.run("doctor").stdout.splitlines() if "DOCTOR" in line]
    assert left == []


def test_logs_are_json_lines_and_name_their_part(herald: Herald) -> None:
    raw = herald.run("logs", "--json", "-n", "500").stdout.splitlines()
    entries = [json.loads(line) for line in raw]
    assert {"nats", "postgres", "triton", "milvus", "gateway", "agent-1", "agent-2"} <= {
        e["component"] for e in entries
    }
    assert all({"timestamp", "level", "event"} <= set(e) for e in entries)
    times = [e["timestamp"] for e in entries]
    assert times == sorted(times)
    one = herald.run("logs", "nats", "-n", "3").stdout.splitlines()
    assert len(one) == 3
    assert all(" nats " in line for line in one)
    assert "no log of 'nast'; there are: " in herald.run("logs", "nast", code=1).stderr


def secrets_of(herald: Herald) -> dict[str, str]:
    return {
        str(file.relative_to(herald.state)): file.read_text().strip()
        for folder in ("secrets", "credentials")
        for file in (herald.state / folder).rglob("*")
        if file.is_file() and file.name != "user"
    }


def test_no_secret_is_in_a_log_or_on_a_command_line(herald: Herald) -> None:
    herald.run("send", "to have something logged")
    everything = {str(f): f.read_text(errors="replace") for f in (herald.state / "logs").iterdir()}
    for process in herald.family():
        for name in ("cmdline", "environ"):
            everything[f"{process.pid} {name}"] = Path(f"/proc/{process.pid}/{name}").read_text(errors="replace")
    everything["state.json"] = (herald.state / "state.json").read_text()
    for file in (herald.state / "settings").iterdir():
        everything[str(file)] = file.read_text(errors="replace")
    secrets = secrets_of(herald)
    assert len(secrets) >= 5
    for where, text in everything.items():
        for name, secret in secrets.items():
            assert secret not in text, f"{name} is in {where}"


def test_secrets_and_state_are_their_owners_only(herald: Herald) -> None:
    assert herald.state.stat().st_mode & 0o777 == 0o700
    for folder in ("secrets", "credentials"):
        for path in (herald.state / folder).rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("name", ["gateway", "agent-1", "triton", "nats", "postgres", "milvus"])
def test_what_dies_comes_back_and_status_says_so(herald: Herald, name: str) -> None:
    before = herald.components()[name]
    root = processes.look_up(before["pid"])
    assert root is not None
    family = processes.tree(root)
    os.kill(before["pid"], signal.SIGKILL)

    def again() -> dict[str, Any] | None:
        now = herald.components()[name]
        return now if now["ready"] and now["pid"] not in (before["pid"], None) else None

    after = eventually_sync(again, within=60, what=f"{name} is back")
    assert after["restarts"] == before["restarts"] + 1
    assert "killed by SIGKILL" in after["last_error"]
    assert processes.wait_gone(family, 10) == (), "nothing of the old one is left"
    assert herald.json("send", f"after {name}")["reply"]["text"] == f"echo: after {name}"


def test_examples_can_be_read_by_the_command(tmp_path: Path) -> None:
    """A start with each of them would take long; that each is understood as far as its first process does not."""
    for file in sorted((Path(__file__).parents[3] / "examples").glob("*.yaml")):
        assert list(yaml.safe_load_all(file.read_text()))


def until(process: subprocess.Popen[str], wanted: Callable[[str], bool]) -> str:
    assert process.stdout is not None
    return next(line for line in process.stdout if wanted(line))


def test_the_ledger_is_watched(herald: Herald) -> None:
    with herald.start("ledger", "--watch", "--json") as watching:
        before = json.loads(until(watching, bool))["accepted"]
        herald.run("send", "watched")
        until(watching, lambda line: json.loads(line)["accepted"] > before)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 130


def test_logs_are_followed(herald: Herald) -> None:
    pid = herald.components()["agent-2"]["pid"]
    with herald.start("logs", "-f", "-n", "1", "agent-2") as following:
        until(following, bool)  # it follows from before its first line on
        os.kill(pid, signal.SIGKILL)
        assert "ended: killed by SIGKILL" in until(following, lambda line: "ended:" in line)
        until(following, lambda line: "started" in line)
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 130


def test_a_reader_that_goes_away_is_no_error(herald: Herald) -> None:
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | head -n 1', "bash", *herald.words("logs", "-n", "5000")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
