"""What `kubectl herald` prints, for people and for scripts; and what it says when it cannot."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from herald_cli.kubectl import deployment as deployments
from herald_cli.kubectl import rollout, status
from herald_cli.kubectl.api import Forbidden, Refused, Unreachable, connect, refusal
from herald_cli.kubectl.deployment import NoSuchDeployment
from herald_cli.kubectl.main import COMMANDS, cli
from herald_cli.kubectl.target import Target
from herald_cli.rim import EXIT_CONFIGURATION, EXIT_TEMPORARY
from herald_cli.style import Style
from herald_contracts.errors import ConfigurationError
from tests.unit.cli.kubectl.resources import ACTIVE, IDLE, condition, deployment, entry

PLAIN = Style()
NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
DOWN = deployment(
    IDLE[0],
    condition("DatabaseReady", "False", "Trouble", "postgres pod support-postgres-0: no space"),
    condition("Ready", "False", "Trouble", "postgres pod support-postgres-0: no space"),
    phase="Degraded",
    components=[{"name": "postgres", "ready": False, "message": "no\x1b[31m space"}],
)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    answer = CliRunner().invoke(cli, [name, "--help"])
    assert answer.exit_code == 0
    assert answer.output.startswith("Usage:")


def test_a_good_deployment_is_short_to_read() -> None:
    shown = "\n".join(status.lines(deployment(), NOW, PLAIN))
    assert "acme/support  ✓ Ready" in shown
    assert "✓ every condition is good" in shown
    assert "kubectl -n acme port-forward svc/support-gateway 8080:80" in shown


def test_what_is_wrong_is_said_once_with_its_reason_and_age() -> None:
    shown = "\n".join(status.lines(DOWN, NOW, PLAIN))
    assert shown.count("no space") == 1, shown
    assert "✗ DatabaseReady Trouble, for 5 min 0 s" in shown
    assert "\x1b" not in shown


def test_a_spec_that_nobody_has_looked_at_is_not_ready() -> None:
    found = deployment(generation=9)
    assert not found.ready
    assert "not looked at the newest spec" in "\n".join(status.lines(found, NOW, PLAIN))


def test_the_address_of_the_chat_page_is_the_public_one_where_there_is_one() -> None:
    shown = "\n".join(status.lines(deployment(spec={"gateway": {"host": "chat.acme.example"}}), NOW, PLAIN))
    assert "https://chat.acme.example/channels/web/" in shown


def test_a_table_of_several_says_why_one_is_not_ready() -> None:
    shown = status.rows([deployment(), DOWN], NOW, PLAIN, everywhere=True)
    assert shown[0].split() == ["NAMESPACE", "NAME", "PHASE", "ACTIVE", "CANDIDATE", "AGE"]
    assert "no space" in shown[3]


def test_the_json_of_status() -> None:
    found = status.report(DOWN)
    assert found["ready"] is False
    assert found["phase"] == "Degraded"
    assert found["active"] == ACTIVE
    assert found["candidate"] is None
    assert found["gateway"] == "http://support-gateway.acme.svc"
    assert found["conditions"][1]["reason"] == "Trouble"
    assert found["history"][0]["promoted_at"] == "2026-01-03T00:00:00Z"


def test_the_history_shows_why_a_revision_failed() -> None:
    failed = entry("v1-x", 4, "Failed", None, "not available within 600 s")
    shown = rollout.history_lines(deployment(history=[failed]), PLAIN)
    assert "Failed" in shown[1]
    assert "600 s" in shown[2]


@pytest.mark.parametrize(
    ("name", "there", "elsewhere", "text"),
    [
        ("nope", ["support"], [], "no AgentDeployment 'nope' in namespace 'acme'\n  there is: support"),
        (None, ["one", "two"], [], "has 2 AgentDeployments: name one of them\n  there is: one, two"),
        (None, [], [], "kubectl apply -f"),
        (None, [], ["other"], r"other \(-n elsewhere\)"),
    ],
)
def test_a_choice_that_cannot_be_made_says_what_there_is(
    name: str | None, there: list[str], elsewhere: list[str], text: str
) -> None:
    found = [deployment(name=n) for n in there]
    others = [deployment(name=n, namespace="elsewhere") for n in elsewhere]
    with pytest.raises(NoSuchDeployment, match=text):
        deployments.pick(found, name, "acme", others)


def test_the_only_one_needs_no_name() -> None:
    assert deployments.pick([deployment()], None, "acme", []).name == "support"


def test_a_command_to_type_next_is_about_the_same_deployment() -> None:
    target = Target("support", "acme", "prod eu")
    assert target.typed("rollout status") == "kubectl herald rollout status support -n acme --context 'prod eu'"
    assert target.typed("logs gateway") == "kubectl herald logs gateway -d support -n acme --context 'prod eu'"
    assert Target().typed("doctor") == "kubectl herald doctor"


@pytest.mark.parametrize(
    ("status_code", "body", "kind", "text"),
    [
        (503, b"", Unreachable, "not able to do it now"),
        (401, b"", Forbidden, "does not know you"),
        (403, b'{"message": "pods is forbidden"}', Forbidden, "you may not: pods is forbidden\n  see"),
        (422, b'{"message": "spec.x:  wrong"}', Refused, "refused: spec.x: wrong"),
        (404, b"<html>", Refused, "<html>"),
    ],
)
def test_what_the_api_server_says_becomes_one_text(
    status_code: int, body: bytes, kind: type[Exception], text: str
) -> None:
    error = refusal(status_code, body)
    assert isinstance(error, kind)
    assert text in str(error)


KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u, namespace: acme}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {token: t}}]
"""


async def test_the_namespace_is_that_of_the_context(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    async with connect(Target(kubeconfig=file)) as api:
        assert api.namespace == "acme"
    async with connect(Target(namespace="other", kubeconfig=file)) as api:
        assert api.namespace == "other"


def test_a_cluster_that_does_not_answer_is_one_text(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(KUBECONFIG)
    answer = CliRunner().invoke(cli, ["status", "--kubeconfig", str(file)])
    assert answer.exit_code == EXIT_TEMPORARY
    assert "no API server at http://127.0.0.1:9" in answer.output
    assert "kubectl cluster-info" in answer.output


@pytest.mark.parametrize("content", [None, "", "[", "a: b", KUBECONFIG.replace("current-context: here", "")])
def test_a_kubeconfig_that_cannot_be_used_is_one_text(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    answer = CliRunner().invoke(cli, ["status", "--kubeconfig", str(file)])
    assert answer.exit_code == EXIT_CONFIGURATION, answer.output
    assert answer.output.startswith("herald: ")
    assert str(file) in answer.output


def test_without_any_kubeconfig_it_says_how_to_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    async def reach() -> None:
        async with connect(Target()):
            pass

    with pytest.raises(ConfigurationError, match="--kubeconfig"):
        asyncio.run(reach())
