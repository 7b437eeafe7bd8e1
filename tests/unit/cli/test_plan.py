"""The plan: what is started, with what, in which order; decided without starting anything."""

from pathlib import Path
from typing import Any

import pytest

from herald_cli import plan
from herald_cli.ports import Ports
from herald_cli.state import Choices, StateFolder
from herald_contracts import settings
from herald_contracts.errors import ConfigurationError
from herald_contracts.resources.v1alpha1 import AgentDeployment, Metadata
from tests.unit.cli.deployments import FEISHU, HMAC, STANDARD, WEB, deployment

PASSWORDS = plan.Passwords(nats_user="herald", nats="n-password", postgres="p-password")
OPENAI = {"model": "m", "backend": "openai", "openai": {"baseURL": "http://127.0.0.1:1/v1"}}
NO_MEMORY = {"memory": {"enabled": False}}
GIB = 2**30


def make(wanted: AgentDeployment, folder: Path, kept: Choices | None = None, gguf: Path | None = None) -> plan.Plan:
    choices = plan.choose(wanted, kept or Choices(), Ports(), free_bytes=100 * GIB)
    return plan.make(
        wanted,
        StateFolder(folder),
        choices,
        PASSWORDS,
        repository=Path("/models"),
        gguf=gguf,
        chat_template=None,
    )


@pytest.mark.parametrize(
    ("spec", "programs"),
    [
        ({}, ["nats", "postgres", "triton", "milvus", "gateway", "agent-1", "agent-2"]),
        ({"agent": {"replicas": 1}}, ["nats", "postgres", "triton", "milvus", "gateway", "agent-1"]),
        ({"agent": NO_MEMORY}, ["nats", "postgres", "triton", "gateway", "agent-1", "agent-2"]),
        ({"inference": OPENAI}, ["nats", "postgres", "triton", "milvus", "gateway", "agent-1", "agent-2"]),
        ({"inference": OPENAI, "agent": NO_MEMORY}, ["nats", "postgres", "gateway", "agent-1", "agent-2"]),
    ],
)
def test_only_what_is_needed_is_started(tmp_path: Path, spec: dict[str, Any], programs: list[str]) -> None:
    assert [p.name for p in make(deployment(**spec), tmp_path).programs] == programs


@pytest.mark.parametrize(
    ("spec", "models"),
    [
        ({}, {"scripted", "embedder"}),
        ({"agent": NO_MEMORY}, {"scripted"}),
        ({"inference": OPENAI}, {"embedder"}),
        ({"inference": {"model": "some.gguf"}}, {"tensorrt_llm", "embedder"}),
    ],
)
def test_triton_loads_only_the_models_that_are_needed(tmp_path: Path, spec: dict[str, Any], models: set[str]) -> None:
    made = make(deployment(**spec), tmp_path, gguf=Path("/some.gguf"))
    argv = next(p for p in made.programs if p.name == "triton").argv
    assert {a.removeprefix("--load-model=") for a in argv if a.startswith("--load-model=")} == models


def test_servers_wait_for_nothing_services_for_what_they_need(tmp_path: Path) -> None:
    needs = {p.name: set(p.needs) for p in make(deployment(), tmp_path).programs}
    assert {name for name, needed in needs.items() if not needed} == {"nats", "postgres", "triton", "milvus"}
    assert needs["gateway"] == {plan.STREAMS}
    assert needs["agent-1"] == {plan.STREAMS, plan.DATABASE}


def test_the_gateway_stops_first_the_servers_last(tmp_path: Path) -> None:
    made = make(deployment(), tmp_path)
    assert made.stop_order == (
        ("gateway",),
        ("agent-1", "agent-2"),
        ("nats", "postgres", "triton", "milvus"),
    )
    assert sorted(name for group in made.stop_order for name in group) == sorted(p.name for p in made.programs)


def test_no_secret_is_in_an_argument_or_an_environment(tmp_path: Path) -> None:
    for program in make(deployment(), tmp_path).programs:
        visible = " ".join(program.argv) + str(dict(program.env)) + repr(program)
        assert "password" not in visible.replace("password_file", ""), program.name
        for secret in (PASSWORDS.nats, PASSWORDS.postgres):
            assert secret not in visible


def test_files_with_secrets_are_their_owners_only(tmp_path: Path) -> None:
    made = make(deployment(), tmp_path)
    for file in (*made.files, *(f for p in made.programs for f in p.files)):
        if PASSWORDS.nats in file.content or PASSWORDS.postgres in file.content:
            assert file.mode == 0o600, file.path
    assert any(PASSWORDS.postgres in file.content for file in made.files)


def test_services_read_what_the_renderer_wrote(tmp_path: Path) -> None:
    made = make(deployment(channels=[WEB, HMAC, STANDARD, FEISHU]), tmp_path)
    gateway = next(p for p in made.programs if p.name == "gateway")
    agents = [p for p in made.programs if p.name.startswith("agent-")]
    written = settings.GatewaySettings.model_validate_json(gateway.files[0].content)
    assert [c.name for c in written.channels] == ["web", "hmac", "std", "lark"]
    assert gateway.argv[1:] == ("-m", "herald_gateway", "--settings", str(gateway.files[0].path))
    ports = set()
    for agent in agents:
        value = settings.AgentSettings.model_validate_json(agent.files[0].content)
        ports.add(value.health_port)
        assert value.revision == made.revision
        assert value.memory is not None
        assert value.memory.milvus_uri == next(p.address for p in made.programs if p.name == "milvus")
        assert isinstance(value.model, settings.TritonModel)
        assert value.model.url == next(p.address for p in made.programs if p.name == "triton")
    assert len(ports) == len(agents)


def test_only_web_channels_have_a_transcript_and_a_page(tmp_path: Path) -> None:
    without = make(deployment(channels=[HMAC]), tmp_path)
    assert without.web == ""
    assert not any(s.name.endswith("_WEB") for s in without.streams.streams)
    with_page = make(deployment(channels=[HMAC, WEB]), tmp_path)
    assert with_page.web.endswith("/channels/web/")
    assert any(s.name.endswith("_WEB") for s in with_page.streams.streams)


def test_ports_differ_and_are_kept(tmp_path: Path) -> None:
    first = plan.choose(deployment(), Choices(), Ports(), free_bytes=100 * GIB)
    assert len(set(first.ports.values())) == len(first.ports)
    again = plan.choose(deployment(), first, Ports(), free_bytes=100 * GIB)
    assert again == first
    more = plan.choose(deployment(agent={"replicas": 5}), first, Ports(), free_bytes=100 * GIB)
    assert {k: more.ports[k] for k in first.ports} == first.ports
    assert len(set(more.ports.values())) == len(more.ports)


@pytest.mark.parametrize(
    ("free", "kept", "storage"),
    [(100 * GIB, None, 8 * GIB), (4 * GIB, None, 2 * GIB), (GIB // 2, None, GIB // 4), (GIB, 8 * GIB, 8 * GIB)],
)
def test_streams_get_at_most_half_the_disk_and_never_less_than_before(
    free: int, kept: int | None, storage: int
) -> None:
    chosen = plan.choose(deployment(), Choices(storage=kept), Ports(), free_bytes=free)
    assert chosen.storage == storage


def test_a_disk_that_is_too_small_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="only 100 MiB are free") as refused:
        plan.choose(deployment(), Choices(), Ports(), free_bytes=100 * 2**20)
    assert "another disk" in refused.value.hint


def test_the_chat_model_is_told_how_much_text_to_expect(tmp_path: Path) -> None:
    wanted = deployment(inference={"model": "some.gguf", "maxTokens": 100, "maxInputTokens": 900})
    program = next(p for p in make(wanted, tmp_path, gguf=Path("/a.gguf")).programs if p.name == "triton")
    assert program.env["HERALD_CHAT_GGUF"] == "/a.gguf"
    assert program.env["HERALD_CHAT_CONTEXT"] == "1000"


def test_what_is_in_shared_memory_can_be_told_apart(tmp_path: Path) -> None:
    litter = {
        next(p.litter for p in make(deployment(), tmp_path, Choices(id=id_)).programs if p.litter)
        for id_ in ("aaaa", "bbbb")
    }
    assert litter == {"herald-aaaa-", "herald-bbbb-"}


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:"), ("::1", "http://[::1]:")],
)
def test_the_address_that_is_shown_can_be_opened(tmp_path: Path, host: str, address: str) -> None:
    assert make(deployment(local={"host": host}), tmp_path).gateway.startswith(address)


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("127.0.0.1", ("localhost", "127.0.0.1", "::1")),
        ("localhost", ("localhost", "127.0.0.1", "::1")),
        ("::1", ("localhost", "127.0.0.1", "::1")),
        ("127.0.0.7", ("localhost", "127.0.0.1", "::1", "127.0.0.7")),
        ("0.0.0.0", ()),
        ("::", ()),
        ("192.0.2.7", ()),
        ("chat.example.com", ()),
    ],
)
def test_a_page_for_this_machine_alone_answers_to_its_names_alone(host: str, public: tuple[str, ...]) -> None:
    assert plan.public_hosts(host) == public


def test_the_metrics_have_a_port_of_their_own(tmp_path: Path) -> None:
    made = make(deployment(), tmp_path)
    gateway = next(p for p in made.programs if p.name == "gateway")
    written = settings.GatewaySettings.model_validate_json(gateway.files[0].content)
    assert gateway.ports == (written.port, written.health_port)
    assert written.health_port not in (0, written.port)
    assert written.health_host == "127.0.0.1"
    assert written.public_hosts == ("localhost", "127.0.0.1", "::1")


def test_a_state_folder_belongs_to_one_deployment() -> None:
    """Its tables know no deployment: two of them would count each other's messages."""
    kept = plan.choose(deployment(), Choices(), Ports(), free_bytes=100 * GIB)
    assert kept.deployment == "default/support"
    other = deployment().model_copy(update={"metadata": Metadata(name="other")})
    with pytest.raises(ConfigurationError, match="keeps the messages of default/support") as refused:
        plan.choose(other, kept, Ports(), free_bytes=100 * GIB)
    assert "--state" in refused.value.hint


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"messaging": {"nats": {"external": {"url": "nats://n:4222"}}}}, "spec.messaging.nats.external"),
        ({"database": {"external": {"secretRef": {"name": "pg"}}}}, "spec.database.external"),
        ({"database": {"cloudNativePG": {}}}, "spec.database.cloudNativePG"),
        (
            {"agent": {"memory": {"milvus": {"external": {"url": "http://m:19530"}}}}},
            "spec.agent.memory.milvus.external",
        ),
        ({"inference": {"model": "Qwen/Qwen3-8B", "engine": "llmapi", "gpu": {}}}, "spec.inference.gpu"),
    ],
)
def test_what_only_a_cluster_has_is_refused_here(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        plan.choose(deployment(**spec), Choices(), Ports(), free_bytes=2**40)
    assert refused.value.path == path
