"""The settings renderer: what a person wrote reaches the services, and only what shapes answers makes a revision."""

from pathlib import Path
from typing import Any

import pytest

from herald_contracts import settings
from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_operator.build import settings as render

PLACES = render.Places(
    nats=settings.Nats(url="nats://127.0.0.1:4222", credentials=Path("/s/nats")),
    dsn_file=Path("/s/postgres/dsn"),
    secrets=Path("/s"),
    triton="127.0.0.1:8001",
    milvus_uri="http://127.0.0.1:19530",
)


def deployment(**spec: Any) -> AgentDeployment:
    document = {
        "apiVersion": "herald.dev/v1alpha1",
        "kind": "AgentDeployment",
        "metadata": {"name": "support"},
        "spec": {
            "instructions": "You answer IT questions.",
            "channels": [{"name": "web", "web": {}}],
            "inference": {"model": "scripted"},
            **spec,
        },
    }
    return AgentDeployment.model_validate(document)


ALL_CHANNELS = [
    {"name": "page", "web": {"title": "Help"}},
    {"name": "any", "hmac": {"secretRef": {"name": "any-key"}, "replyURL": "http://127.0.0.1:9/r"}},
    {
        "name": "std",
        "standardWebhooks": {
            "secretRef": {"name": "std-key"},
            "replyURL": "https://example.com/r",
            "onUnknown": "hold",
        },
    },
    {"name": "lark", "feishu": {"appId": "cli_a1b2c3", "secretRef": {"name": "lark-app"}, "streaming": False}},
]


def test_every_channel_reaches_the_gateway() -> None:
    made = render.gateway(deployment(channels=ALL_CHANNELS), PLACES, host="127.0.0.1", port=8080, health_port=9090)
    assert made.channels == (
        settings.WebChannel(name="page", secret=Path("/s/support-page-session"), title="Help"),
        settings.HmacChannel(name="any", secret=Path("/s/any-key"), reply_url="http://127.0.0.1:9/r"),
        settings.StandardWebhooksChannel(
            name="std", secret=Path("/s/std-key"), reply_url="https://example.com/r", on_unknown="hold"
        ),
        settings.FeishuChannel(name="lark", secret=Path("/s/lark-app"), app_id="cli_a1b2c3", streaming=False),
    )


def test_the_gateway_gets_its_address_and_limits() -> None:
    spec = {"gateway": {"limits": {"bodyBytes": 4096, "jsonDepth": 8}}, "logLevel": "debug"}
    made = render.gateway(deployment(**spec), PLACES, host="0.0.0.0", port=8123, health_port=9090)
    assert (made.host, made.port, made.log_level) == ("0.0.0.0", 8123, "debug")
    assert made.limits == settings.Limits(body_bytes=4096, json_depth=8)
    assert (made.namespace, made.name, made.nats) == ("default", "support", PLACES.nats)


def test_every_setting_of_the_agent_reaches_the_worker() -> None:
    spec = {
        "agent": {
            "replicas": 4,
            "concurrency": 7,
            "perUser": 3,
            "turnSeconds": 33,
            "historyMessages": 5,
            "memory": {"recallMilliseconds": 80},
        },
        "inference": {"model": "scripted", "maxTokens": 99, "maxInputTokens": 512, "temperature": 0.7},
    }
    made = render.agent(deployment(**spec), PLACES, health_port=9001)
    assert (made.concurrency, made.per_user, made.turn_seconds, made.history_messages) == (7, 3, 33, 5)
    assert made.generation == settings.Generation(max_tokens=99, max_input_tokens=512, temperature=0.7)
    assert made.memory == settings.Memory(
        milvus_uri="http://127.0.0.1:19530", embedder_url="127.0.0.1:8001", embedder="embedder", recall_seconds=0.08
    )
    assert made.model == settings.TritonModel(url="127.0.0.1:8001", model="scripted")
    assert made.database == settings.Database(dsn_file=Path("/s/postgres/dsn"), pool_max=25, pool_min=5)
    assert made.health_port == 9001
    assert made.instructions == "You answer IT questions."


@pytest.mark.parametrize(("replicas", "pool_max"), [(1, 50), (2, 50), (3, 33), (32, 3)])
def test_all_pools_together_fit_the_database(replicas: int, pool_max: int) -> None:
    made = render.agent(deployment(agent={"replicas": replicas}), PLACES, health_port=1).database
    assert made.pool_max == pool_max
    assert made.pool_max * replicas <= PLACES.connections
    assert made.pool_min <= made.pool_max


def test_memory_off_means_no_memory() -> None:
    off = deployment(agent={"memory": {"enabled": False}})
    assert render.agent(off, PLACES, health_port=1).memory is None
    assert render.triton_models(off) == ("scripted",)


OPENAI = {
    "model": "gpt-oss",
    "backend": "openai",
    "openai": {"baseURL": "https://models.example/v1", "secretRef": {"name": "models"}},
}


def test_an_openai_endpoint_needs_no_chat_model_in_triton() -> None:
    made = deployment(inference=OPENAI)
    assert render.triton_models(made) == ("embedder",)
    assert render.agent(made, PLACES, health_port=1).model == settings.OpenAiModel(
        base_url="https://models.example/v1", model="gpt-oss", secret=Path("/s/models")
    )
    assert render.triton_models(deployment(inference=OPENAI, agent={"memory": {"enabled": False}})) == ()


def test_a_real_model_is_tensorrt_llm_with_its_template() -> None:
    made = deployment(inference={"model": "HuggingFaceTB/SmolLM2-135M-Instruct"})
    places = render.Places(
        nats=PLACES.nats,
        dsn_file=PLACES.dsn_file,
        secrets=PLACES.secrets,
        triton=PLACES.triton,
        milvus_uri="",
        chat_template=Path("/t"),
    )
    assert render.triton_models(made) == ("tensorrt_llm", "embedder")
    assert render.agent(made, places, health_port=1).model == settings.TritonModel(
        url=PLACES.triton, model="tensorrt_llm", template=Path("/t")
    )


def test_settings_survive_their_file(tmp_path: Path) -> None:
    made = render.agent(deployment(channels=ALL_CHANNELS), PLACES, health_port=1)
    file = tmp_path / "agent.json"
    file.write_text(made.model_dump_json())
    assert settings.AgentSettings.load(file) == made


def test_a_revision_never_changes_by_itself() -> None:
    """Written down: a new Herald must not give a running deployment a new revision."""
    assert render.revision(deployment()) == "v1-ryttk22s5aev"


SHAPES_ANSWERS: list[dict[str, Any]] = [
    {"instructions": "You answer HR questions."},
    {"inference": {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"}},
    {"inference": {"model": "scripted", "maxTokens": 100}},
    {"inference": {"model": "scripted", "maxInputTokens": 200}},
    {"inference": {"model": "scripted", "temperature": 1.0}},
    {"inference": OPENAI},
    {"agent": {"historyMessages": 3}},
    {"agent": {"memory": {"enabled": False}}},
    {"agent": {"memory": {"recallMilliseconds": 60}}},
]
DOES_NOT: list[dict[str, Any]] = [
    {"agent": {"replicas": 9}},
    {"agent": {"concurrency": 3, "perUser": 2, "turnSeconds": 60}},
    {"gateway": {"limits": {"bodyBytes": 2048}}},
    {"logLevel": "debug"},
    {"channels": ALL_CHANNELS},
]


@pytest.mark.parametrize("change", SHAPES_ANSWERS)
def test_what_shapes_answers_makes_a_new_revision(change: dict[str, Any]) -> None:
    assert render.revision(deployment(**change)) != render.revision(deployment())


@pytest.mark.parametrize("change", DOES_NOT)
def test_what_does_not_shape_answers_keeps_the_revision(change: dict[str, Any]) -> None:
    assert render.revision(deployment(**change)) == render.revision(deployment())


def test_a_new_key_for_the_endpoint_keeps_the_revision() -> None:
    other = {**OPENAI, "openai": {"baseURL": "https://models.example/v1", "secretRef": {"name": "rotated"}}}
    assert render.revision(deployment(inference=other)) == render.revision(deployment(inference=OPENAI))


def test_revisions_of_all_these_differ() -> None:
    seen = {render.revision(deployment(**change)) for change in SHAPES_ANSWERS}
    assert len(seen) == len(SHAPES_ANSWERS)
