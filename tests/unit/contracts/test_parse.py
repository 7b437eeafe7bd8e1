"""What a person gets for each mistake in agent.yaml."""

import base64
import copy
from typing import Any

import pytest

from herald_contracts.resources.parse import InvalidResource, parse

GOOD: dict[str, Any] = {
    "apiVersion": "herald.dev/v1alpha1",
    "kind": "AgentDeployment",
    "metadata": {"name": "support"},
    "spec": {
        "instructions": "You answer IT questions.",
        "channels": [
            {"name": "web", "web": {}},
            {"name": "hooks", "hmac": {"secretRef": {"name": "hooks"}, "replyURL": "http://127.0.0.1:9/replies"}},
        ],
        "inference": {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"},
    },
}


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    here: Any = document
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = value
    return document


def test_the_smallest_that_works() -> None:
    bundle = parse([GOOD])
    assert bundle.deployment.spec.agent.least == 2
    assert bundle.deployment.metadata.namespace == "default"


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        (["spec", "instuctions"], "x", "spec.instuctions: unknown field (did you mean instructions?)"),
        (["spec", "agent"], {"replica": 2}, "spec.agent.replica: unknown field (did you mean replicas?)"),
        (["spec", "gateway"], {"limits": {"bodyByte": 1}}, "did you mean bodyBytes?"),
        (["spec", "channels", 1, "hmac", "replyUrl"], "x", "spec.channels[1].hmac.replyUrl: unknown field"),
        (["spec", "security"], {}, "spec.security: does not work in this version"),
        (["spec", "channels", 0, "slack"], {}, "spec.channels[0].slack: does not work in this version"),
        (["spec", "channels", 0, "hmac"], GOOD["spec"]["channels"][1]["hmac"], "exactly one of"),
        (["spec", "channels", 1, "name"], "web", "is used twice"),
        (["spec", "channels", 1, "hmac", "replyURL"], "http://example.com/x", "spec.channels[1].hmac.replyURL"),
        (
            ["spec", "channels", 1, "hmac", "replyURL"],
            "http://127.0.0.1.example.com/",
            "spec.channels[1].hmac.replyURL",
        ),
        (["spec", "channels", 1, "hmac", "replyURL"], "https://user:pw@example.com/", "spec.channels[1].hmac.replyURL"),
        (["spec", "inference", "backend"], "openai", "needs `openai: {baseURL: ...}`"),
        (["spec", "agent"], {"replicas": 0}, "spec.agent.replicas: input should be greater than or equal to 1"),
        (["spec", "agent"], {"replicas": 1, "autoscaling": {"max": 3}}, "either replicas or autoscaling"),
        (["spec", "agent"], {"autoscaling": {"max": 1}}, "min must not be more than max"),
        (["spec", "gateway"], {"replicas": 1, "autoscaling": {"max": 3}}, "either replicas or autoscaling"),
        (["spec", "gateway"], {"route": {"ingress": {}}}, "route needs host"),
        (["spec", "gateway"], {"host": "a.example", "route": {}}, "exactly one of httpRoute, ingress"),
        (["spec", "database"], {"managed": {}, "external": {"secretRef": {"name": "x"}}}, "at most one of managed"),
        (["spec", "inference", "engine"], "llmapi", "engine llmapi needs `gpu`"),
        (
            ["spec", "instructionsFrom"],
            {"name": "prompts", "key": "a"},
            "exactly one of instructions, instructionsFrom",
        ),
        (["metadata", "name"], "No_Label", "metadata.name"),
        (["apiVersion"], "herald.dev/v2", "apiVersion"),
        (["kind"], "AgentDeploymnt", "document 1.kind: 'AgentDeploymnt' is not known"),
    ],
)
def test_each_mistake_names_its_path(path: list[Any], value: Any, error: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        parse([changed(path, value)])
    assert error in str(caught.value)


def test_every_problem_is_listed() -> None:
    document = changed(["spec", "instuctions"], "x")
    document["spec"]["agent"] = {"replicas": 0}
    with pytest.raises(InvalidResource) as caught:
        parse([document])
    assert len(caught.value.problems) == 2


def test_secrets_travel_beside_the_deployment() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hooks"},
        "data": {"a": base64.b64encode(b"\x00\xff").decode()},
        "stringData": {"b": "plain"},
    }
    assert parse([None, secret, GOOD]).secrets == {"hooks": {"a": b"\x00\xff", "b": b"plain"}}


@pytest.mark.parametrize(
    ("secret", "error"),
    [
        ({"metadata": {"name": "../x"}}, "a Secret needs a name"),
        ({"metadata": {"name": "x"}, "data": {"k": "not base64!"}}, "data.k: is not base64"),
        ({"metadata": {"name": "x"}, "stringData": {"../k": "v"}}, "plain key"),
        ({"metadata": {"name": "x"}, "stringData": {"k": 1}}, "plain key"),
        ({"metadata": {"name": "x"}, "stringData": ["k"]}, "must be a mapping"),
    ],
)
def test_bad_secrets(secret: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        parse([GOOD, {"apiVersion": "v1", "kind": "Secret"} | secret])
    assert error in str(caught.value)


@pytest.mark.parametrize("documents", [[], [GOOD, GOOD]])
def test_exactly_one_deployment(documents: list[Any]) -> None:
    with pytest.raises(InvalidResource, match="exactly one AgentDeployment"):
        parse(documents)


@pytest.mark.parametrize("document", ["text", 3, ["a"]])
def test_a_document_that_is_no_mapping(document: Any) -> None:
    with pytest.raises(InvalidResource, match="document 1: is not a mapping"):
        parse([document])


def _referring() -> dict[str, Any]:
    document = changed(["spec", "instructionsFrom"], {"name": "prompts", "key": "support"})
    del document["spec"]["instructions"]
    return document


def _prompts(text: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prompts"}, "data": {"support": text}}


def test_instructions_come_from_a_config_map_of_the_file() -> None:
    spec = parse([_referring(), _prompts("Be brief.")]).deployment.spec
    assert (spec.instructions, spec.instructions_from) == ("Be brief.", None)


@pytest.mark.parametrize(
    ("documents", "error"),
    [
        ([_referring()], "there is no ConfigMap 'prompts' with the text 'support'"),
        ([_referring(), _prompts("")], "the text has 0 characters"),
        ([_referring(), _prompts("x" * 32_769)], "the text has 32769 characters"),
    ],
)
def test_instructions_that_are_not_there_are_named(documents: list[Any], error: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        parse(documents)
    assert str(caught.value).startswith("spec.instructionsFrom: ")
    assert error in str(caught.value)
