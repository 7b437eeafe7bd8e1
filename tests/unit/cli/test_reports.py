"""What the commands print, for people and for scripts. The JSON is a contract: docs/cli.md."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from herald_agent.store.dead_letters import Letter
from herald_cli.commands import dead_letters, doctor, ledger, logs, send, status
from herald_cli.diagnosis import Finding
from herald_cli.logfiles import parse
from herald_cli.main import COMMANDS, cli
from herald_cli.options import emit
from herald_cli.receiving import Reply
from herald_cli.rim import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_INTERNAL, EXIT_TEMPORARY
from herald_cli.sending import Sent
from herald_cli.state import Component
from herald_cli.style import Style
from herald_contracts.ledger import STATES, Counts, Row
from tests.unit.cli.deployments import NOW, snapshot

PLAIN = Style()
ROW = Row(
    event_id="e1",
    channel="hmac",
    conversation="c1",
    turn="t1",
    state="answered",
    revision="v1-abc",
    attempts=1,
    received_at=NOW,
    started_at=NOW + timedelta(seconds=0.1),
    finished_at=NOW + timedelta(seconds=2),
    delivered_at=NOW + timedelta(seconds=2.5),
    platform_message_id="p1",
)
LETTER = Letter(
    id=3,
    source="turn",
    reason="the model refused\x1b[31m",
    turn="t1",
    reply=None,
    event_id="e1",
    channel="hmac",
    conversation="c1",
    stream=None,
    stream_seq=None,
    payload=b'{"content": "hi"}',
    created_at=NOW,
    replayed_at=None,
)
COUNTS = Counts(accepted=6, waiting=1, running=1, answered=3, dead=1)
COMPONENTS = (
    Component(name="nats", state="ready", pid=10, started=1, since=NOW, address="nats://127.0.0.1:1"),
    Component(name="streams", state="ready", task=True),
    Component(name="gateway", state="restarting", restarts=2, last_error="killed by SIGKILL", since=NOW),
)

# The keys of each document, as docs/cli.md lists them. One more is no break; one less or another name is.
CONTRACTS: list[tuple[dict[str, Any], set[str]]] = [
    (
        status.report(snapshot(*COMPONENTS), NOW, disk_full=False),
        {
            "namespace",
            "name",
            "revision",
            "phase",
            "ready",
            "disk_full",
            "pid",
            "since",
            "file",
            "web",
            "gateway",
            "components",
        },
    ),
    (
        status.report(snapshot(*COMPONENTS), NOW, disk_full=False)["components"][2],  # type: ignore[index]
        {"name", "kind", "state", "ready", "pid", "uptime", "restarts", "address", "last_error"},
    ),
    (ledger.report(COUNTS, None, True), {"accepted", *STATES, "balanced", "complete"}),
    (ledger.report(COUNTS, [ROW], True), {"accepted", *STATES, "balanced", "complete", "messages"}),
    (
        ledger.report(COUNTS, [ROW], True)["messages"][0],  # type: ignore[index]
        {
            "event_id",
            "channel",
            "conversation",
            "turn",
            "state",
            "revision",
            "attempts",
            "received_at",
            "started_at",
            "finished_at",
            "delivered_at",
            "platform_message_id",
            "reason",
        },
    ),
    (
        dead_letters.report(LETTER),
        {
            "id",
            "source",
            "reason",
            "event",
            "channel",
            "conversation",
            "turn",
            "reply",
            "stream",
            "stream_sequence",
            "created_at",
            "replayed_at",
        },
    ),
    (doctor.report([Finding("nats", "ok", "fine")], running=True), {"running", "healthy", "checks"}),
    (
        send.report(Sent("e1", "hmac", "chat", accepted=0.1, row=ROW, reply=Reply("r1", "e1", "answer", "hello"))),
        {
            "event",
            "channel",
            "conversation",
            "state",
            "accepted_after",
            "first_text_after",
            "answered_after",
            "reply",
            "record",
        },
    ),
]


@pytest.mark.parametrize(("document", "keys"), CONTRACTS, ids=range(len(CONTRACTS)))
def test_the_json_is_what_the_documentation_says(document: dict[str, Any], keys: set[str]) -> None:
    assert set(document) == keys
    assert json.loads(json.dumps(document, default=str)) is not None


def test_every_document_begins_with_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"row": ROW, "text": "ü"})
    written = capsys.readouterr().out
    assert written.startswith('{"version": 1, ')
    assert written.count("\n") == 1
    assert json.loads(written)["row"]["event_id"] == "e1"
    assert "ü" in written


def test_status_for_a_person() -> None:
    text = "\n".join(status.lines(snapshot(*COMPONENTS), NOW + timedelta(seconds=5), PLAIN))
    assert "✗ gateway not ready" in text
    assert "last error: killed by SIGKILL" in text
    assert "http://127.0.0.1:8080/channels/web/" in text
    assert not status.all_ready(snapshot(*COMPONENTS))


def test_status_when_all_is_well() -> None:
    well = snapshot(*COMPONENTS[:2])
    assert status.all_ready(well)
    assert "✓ all ready" in status.lines(well, NOW, PLAIN)[0]
    assert not status.all_ready(well.model_copy(update={"phase": "stopping"}))


def test_the_ledger_says_that_the_sum_is_right() -> None:
    assert "✓ accepted = the sum of the others" in ledger.lines(COUNTS, None, True, PLAIN)


def test_the_ledger_cries_when_the_sum_is_wrong() -> None:
    wrong = COUNTS.model_copy(update={"accepted": 7})
    assert any("ALARM: accepted is 7, the others are 6" in line for line in ledger.lines(wrong, None, True, PLAIN))
    assert ledger.report(wrong, None, True)["balanced"] is False


def test_the_ledger_says_when_it_cannot_see_everything() -> None:
    assert any("NATS does not answer" in line for line in ledger.lines(COUNTS, None, False, PLAIN))


def test_ledger_rows_show_times_since_acceptance() -> None:
    text = "\n".join(ledger.lines(COUNTS, [ROW, ROW.model_copy(update={"reason": "because"})], True, PLAIN))
    assert "+0.10s" in text
    assert "+2.50s" in text
    assert "because" in text


def test_dead_letters_for_a_person() -> None:
    text = "\n".join(dead_letters.lines([LETTER], PLAIN))
    assert "e1" in text
    assert "the model refused" in text
    assert "\x1b" not in text
    assert "herald dead-letters replay ID" in text
    assert dead_letters.lines([], PLAIN) == ["✓ no dead letters"]


def test_the_doctor_says_what_to_do_only_where_something_is_wrong() -> None:
    found = [Finding("nats", "ok", "fine", "never shown"), Finding("disk", "failed", "full", "free some space")]
    text = "\n".join(doctor.lines(found, PLAIN))
    assert "never shown" not in text
    assert "next: free some space" in text
    assert doctor.report(found, running=True)["healthy"] is False


def test_a_log_line_for_a_person_cannot_drive_the_terminal() -> None:
    raw = '{"component": "nats", "event": "boom\\u001b[2J", "level": "error", "timestamp": "2026-11-22T15:46:01.123456Z", "n": 1}'  # noqa: E501
    text = logs.shown(parse(raw), PLAIN)
    assert "\x1b" not in text
    assert text.startswith("15:46:01.123 E nats")
    assert text.endswith("n=1")


def test_the_delivery_record_names_what_happened() -> None:
    sent = Sent("e1", "hmac", "chat", accepted=0.01, first_text=0.5, answered=2.5, row=ROW, listening=True)
    assert "answered" in send.record(sent, PLAIN)[0]
    assert "first words 0.50 s" in "\n".join(send.record(sent, PLAIN))
    dead = Sent("e1", "hmac", "chat", row=ROW.model_copy(update={"state": "dead", "reason": "too long"}))
    assert "reason: too long" in "\n".join(send.record(dead, PLAIN))
    assert "herald dead-letters list" in "\n".join(send.record(dead, PLAIN))


def test_the_documentation_names_every_field_and_every_command() -> None:
    text = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    for _, keys in CONTRACTS:
        for key in keys:
            assert f"`{key}`" in text or f"`{key}[]`" in text, key
    for name in COMMANDS:
        assert f"`herald {name}" in text, name
    for code in (EXIT_FAILED, EXIT_INTERNAL, EXIT_TEMPORARY, EXIT_CONFIGURATION):
        assert f"| {code} |" in text


def test_every_command_has_help_that_answers() -> None:
    runner = CliRunner()
    for name in COMMANDS:
        told = runner.invoke(cli, [name, "--help"])
        assert told.exit_code == 0, name
        assert len(told.output.splitlines()) > 4, name
    told = runner.invoke(cli, ["--help"])
    assert all(name in told.output for name in COMMANDS)


def test_a_bug_is_one_line_and_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("unexpected")

    monkeypatch.setattr("herald_cli.commands.version.metadata.version", broken)
    told = CliRunner().invoke(cli, ["version"])
    assert told.exit_code == EXIT_INTERNAL
    assert "internal error: KeyError: 'unexpected'" in told.output
    assert "HERALD_DEBUG=1" in told.output
    monkeypatch.setenv("HERALD_DEBUG", "1")
    assert isinstance(CliRunner().invoke(cli, ["version"]).exception, KeyError)


def test_a_full_disk_is_never_ready() -> None:
    well = snapshot(Component(name="nats", state="ready"), phase="running")
    assert status.report(well, NOW, disk_full=False)["ready"] is True
    assert status.report(well, NOW, disk_full=True)["ready"] is False
