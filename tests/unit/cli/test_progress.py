"""What a person sees while Herald starts: a list on a terminal, one line per event anywhere else."""

from datetime import timedelta

import pytest

from herald_cli.progress import frame, news
from herald_cli.state import Component, Condition
from herald_cli.style import Style
from tests.unit.cli.deployments import NOW, snapshot

PLAIN = Style()


def test_the_list_says_what_each_part_is_and_how_it_is_doing() -> None:
    lines = frame(
        snapshot(
            Component(name="nats", state="ready", seconds=0.42, address="nats://127.0.0.1:1"),
            Component(name="triton", state="starting", since=NOW - timedelta(seconds=3)),
            Component(name="agent-2"),
            Component(name="gateway", state="restarting", last_error="killed by SIGKILL\nmore"),
        ),
        NOW,
        0,
        PLAIN,
    )
    assert lines[0].split() == ["✓", "messages", "(NATS", "JetStream)", "0.4", "s", "nats://127.0.0.1:1"]
    assert lines[1].endswith("starting (3.0 s)")
    assert lines[2].split() == ["·", "worker", "2", "waiting"]
    assert lines[3].endswith("restarting: killed by SIGKILL")


def test_the_list_never_breaks_a_line() -> None:
    long = snapshot(Component(name="nats", state="failed", last_error="x" * 500))
    assert all(len(line) < 60 for line in frame(long, NOW, 0, PLAIN, width=60))


def test_colour_is_never_the_only_sign() -> None:
    signs = {
        frame(snapshot(Component(name="nats", state=state)), NOW, 0, PLAIN)[0].split()[0]
        for state in ("ready", "failed", "waiting", "starting")
    }
    assert len(signs) == 4


def test_news_are_told_once() -> None:
    before = snapshot(Component(name="nats", state="starting"), Component(name="postgres"))
    after = snapshot(Component(name="nats", state="ready", address="nats://x"), Component(name="postgres"))
    assert news(before, after, 1.5) == ["[   1.5 s] nats       ready nats://x"]
    assert news(after, after, 2.0) == []


def test_a_second_restart_is_news_too() -> None:
    once = snapshot(Component(name="nats", state="restarting", restarts=1, last_error="killed by SIGKILL"))
    twice = snapshot(Component(name="nats", state="restarting", restarts=2, last_error="exit code 1"))
    assert news(once, twice, 3.0) == ["[   3.0 s] nats       restarting: exit code 1"]


@pytest.mark.parametrize("state", ["unready", "restarting", "refused", "failed"])
def test_trouble_comes_with_its_reason(state: Condition) -> None:
    (line,) = news(None, snapshot(Component(name="nats", state=state, last_error="the reason")), 0)
    assert line.endswith(": the reason")


def test_an_error_text_cannot_drive_the_terminal() -> None:
    (line,) = news(None, snapshot(Component(name="nats", state="failed", last_error="\x1b[2Jgone")), 0)
    assert "\x1b" not in line
