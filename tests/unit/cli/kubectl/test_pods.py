"""Which worker is asked, how a command's end is understood, and how the pods' logs are read."""

import json
from typing import Any

import pytest

from herald_cli.kubectl import logs, pods
from herald_cli.kubectl.api import Unreachable
from herald_cli.kubectl.logs import Source
from herald_cli.kubectl.pods import NotAnswered, NotNow, OtherVersion


def pod(name: str, *, revision: str = "v1-new", ready: bool = True, running: bool = True, **metadata: Any) -> Any:
    return {
        "metadata": {
            "name": name,
            "namespace": "acme",
            "labels": {"herald.dev/revision": revision, "app.kubernetes.io/component": "agent"},
            **metadata,
        },
        "spec": {"containers": [{"name": "agent"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"state": {"running": {}} if running else {"waiting": {}}, "restartCount": 0}],
        },
    }


@pytest.mark.parametrize(
    ("found", "asked"),
    [
        ([pod("a", revision="v1-old"), pod("b")], "b"),
        ([pod("a", ready=False), pod("b", revision="v1-old")], "b"),
        ([pod("a", running=False, ready=False), pod("b", ready=False)], "b"),
        ([pod("a", deletionTimestamp="2026-01-01T00:00:00Z")], None),
        ([], None),
    ],
)
def test_the_worker_that_is_asked(found: list[Any], asked: str | None) -> None:
    best = pods.best(found, "v1-new")
    assert (best["metadata"]["name"] if best is not None else None) == asked


def failure(code: str) -> bytes:
    causes = [{"reason": "ExitCode", "message": code}]
    return json.dumps({"status": "Failure", "message": "exit", "details": {"causes": causes}}).encode()


@pytest.mark.parametrize(
    ("end", "said", "kind", "text"),
    [
        (b"", b"", Unreachable, "connection to pod p was lost"),
        (failure("1"), b"python3: No module named herald_agent.ask\n", OtherVersion, "another version"),
        (failure("2"), b"ask: error: unrecognized arguments: x\n", OtherVersion, "another version"),
        (failure("75"), b"no PostgreSQL\n", NotNow, "no PostgreSQL"),
        (failure("1"), b"there is no dead letter 7\n", NotAnswered, "there is no dead letter 7 (in pod p)"),
        (failure("137"), b"", NotAnswered, "exit"),
    ],
)
def test_how_a_command_in_a_pod_ended(end: bytes, said: bytes, kind: type[Exception], text: str) -> None:
    error = pods.ended(end, said, "p")
    assert isinstance(error, kind)
    assert text in str(error)


def test_a_good_end_is_no_error() -> None:
    assert pods.ended(b'{"status": "Success"}', b"a warning", "p") is None


def test_a_pods_short_name_tells_its_component() -> None:
    assert pods.short(pod("support-v1-abc-x7k2p")) == "agent-x7k2p"
    assert pods.short(pod("herald-operator-6c5b-l8bnf"), "operator") == "operator-l8bnf"


SOURCE = Source("acme", "support-gateway-1-2", "gateway", "gateway-2")


def test_a_json_line_keeps_its_fields_and_gets_the_pods_name() -> None:
    said = json.dumps({"event": "listening", "level": "info", "timestamp": "2026-01-01T00:00:00Z", "port": 8080})
    line = logs.read(SOURCE, f"2026-01-01T00:00:00.000000005Z {said}")
    assert line.written == "2026-01-01T00:00:00.000000005Z"
    assert (line.entry.component, line.entry.event, line.entry.fields) == (
        "gateway-2",
        "listening",
        (("port", "8080"),),
    )


def test_a_servers_text_line_becomes_an_event_with_the_kubelets_time() -> None:
    line = logs.read(SOURCE, "2026-01-01T00:00:00.123456789Z [ERR] disk full")
    assert (line.entry.event, line.entry.level) == ("[ERR] disk full", "error")
    assert line.entry.timestamp.startswith("2026-01-01T00:00:00.123456")


def test_a_line_without_a_time_is_shown_all_the_same() -> None:
    assert logs.read(SOURCE, "unable to retrieve container logs").entry.event == "unable to retrieve container logs"


@pytest.mark.parametrize(("about", "shown"), [(None, True), ("acme/support", True), ("acme/other", False)])
def test_of_the_operator_only_what_is_about_this_deployment(about: str | None, shown: bool) -> None:
    source = Source("herald-system", "herald-operator-1-2", "operator", "operator-2", about="acme/support")
    said = json.dumps({"event": "applying", **({"deployment": about} if about else {})})
    assert logs.concerns(source, logs.read(source, f"2026-01-01T00:00:00Z {said}")) is shown
