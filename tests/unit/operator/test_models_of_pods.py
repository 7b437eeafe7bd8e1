"""A pod has other files than a machine: a model that cannot be there is refused before anything is made."""

from typing import Any

import pytest

from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_operator.planning import accepting
from herald_operator.planning.accepting import Refusal
from tests.unit.operator.imagined import Imagined, resource

CACHE = {"volume": {"size": "10Gi"}}


def judged(**inference: Any) -> AgentDeployment | Refusal:
    imagined = Imagined(resource({"spec.inference": inference}))
    parsed = accepting.parse(imagined.resource)
    assert isinstance(parsed, AgentDeployment), parsed
    return accepting.resolve(parsed, imagined.seen())


@pytest.mark.parametrize(
    "inference",
    [
        {"model": "scripted"},
        {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"},
        {"model": "/cache/other.gguf", "cache": CACHE},
        {"model": "Qwen/Qwen3-8B", "engine": "llmapi", "gpu": {}},
        {"model": "gpt-oss", "backend": "openai", "openai": {"baseURL": "https://models.example/v1"}},
    ],
)
def test_what_a_pod_can_load_is_taken(inference: dict[str, Any]) -> None:
    assert isinstance(judged(**inference), AgentDeployment)


@pytest.mark.parametrize(
    "inference",
    [
        {"model": "/home/me/other.gguf"},
        {"model": "/home/me/other.gguf", "cache": CACHE},
        {"model": "/cache/other.gguf"},
        {"model": "Qwen/Qwen3-8B"},
    ],
)
def test_what_no_pod_could_load_is_refused_with_the_way_out(inference: dict[str, Any]) -> None:
    refused = judged(**inference)
    assert isinstance(refused, Refusal)
    assert refused.reason == "InvalidSpec"
    assert refused.message.startswith("spec.inference.model: engine cpu has HuggingFaceTB/SmolLM2-135M-Instruct")
    assert "/cache/NAME.gguf" in refused.message
