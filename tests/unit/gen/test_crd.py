"""The generated schema says what a structural schema must, and what our models say."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tools.gen import crd
from tools.gen.__main__ import ROOT, outputs, stale

from herald_contracts.resources.parse import InvalidResource, parse
from herald_contracts.resources.v1alpha1 import AgentDeployment
from tests.resource_cases import CASES, Case
from tests.resource_documents import EXTERNAL, FAILOVER, MANAGED, STATUS
from tests.resource_limits import limits, walk

DEFINITION = crd.definition()
SCHEMA: dict[str, Any] = DEFINITION["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
# What the API server knows itself.
STANDARD = {".apiVersion", ".kind", ".metadata"}
# https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ (structural schemas)
STRUCTURAL = {
    "additionalProperties",
    "anyOf",
    "default",
    "description",
    "enum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
}
ANNOTATION_LIMIT = 262_144  # bytes: what client-side `kubectl apply` keeps of an object


def nodes(schema: Mapping[str, Any], path: str = "", *, listed: bool = False) -> Iterator[tuple[str, Any, bool]]:
    """Path, schema, and whether it stands in a list or a map."""
    yield path, schema, listed
    for name, inner in schema.get("properties", {}).items():
        if f"{path}.{name}" not in STANDARD:
            yield from nodes(inner, f"{path}.{name}", listed=listed)
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]", listed=True)
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}.*", listed=True)


NODES = list(nodes(SCHEMA))


def test_files_are_what_the_models_say() -> None:
    assert stale() == []


def test_a_file_that_was_edited_is_found(tmp_path: Any) -> None:
    for path, text in outputs().items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    assert stale(tmp_path) == []
    (tmp_path / "crds/herald.dev_agentdeployments.yaml").write_text("kind: Nothing\n")
    assert stale(tmp_path) == ["crds/herald.dev_agentdeployments.yaml"]


def test_no_keyword_that_a_structural_schema_lacks() -> None:
    unknown = {(p, k) for p, s, _ in NODES for k in s if k not in STRUCTURAL and not k.startswith("x-kubernetes-")}
    assert unknown == set()


def test_every_text_list_and_map_is_bounded() -> None:
    for path, schema, _ in NODES:
        if schema.get("x-kubernetes-int-or-string"):
            assert {"maxLength", "pattern"} <= schema.keys(), path
        elif schema["type"] == "string":
            assert "enum" in schema or "maxLength" in schema, path
        elif schema["type"] == "array":
            assert "maxItems" in schema, path
            assert "x-kubernetes-list-type" in schema, path
        elif schema["type"] == "object":
            assert ("properties" in schema) != ("additionalProperties" in schema), path
            assert "properties" in schema or "maxProperties" in schema, path
            assert schema.get("additionalProperties") is not False, path


def test_every_number_in_spec_has_both_ends() -> None:
    for path, schema, _ in NODES:
        if path.startswith(".spec") and schema.get("type") in ("integer", "number"):
            assert "enum" in schema or {"minimum", "maximum"} <= schema.keys(), path
            assert schema["type"] == "number" or "format" in schema, path


def test_every_property_is_described_in_sentences() -> None:
    for path, schema, _ in NODES:
        if not path.endswith(("[]", "*")):
            assert schema.get("description", "").endswith("."), path


def test_lists_that_several_write_are_maps() -> None:
    """And no others: what somebody else adds to a list that is ours alone does not stay."""
    keys = {p: s["x-kubernetes-list-map-keys"] for p, s, _ in NODES if s.get("x-kubernetes-list-type") == "map"}
    assert keys == {
        ".spec.channels": ["name"],
        ".status.conditions": ["type"],
    }


def test_defaults_are_scalars_of_spec_and_not_in_lists() -> None:
    """tools/gen/structural.py says why."""
    for path, schema, listed in NODES:
        if "default" in schema:
            assert path.startswith(".spec"), path
            assert not listed, path
            assert not isinstance(schema["default"], (dict, list)), path


def test_defaults_are_those_of_the_models() -> None:
    made = AgentDeployment.model_validate(CASES[0].document).model_dump(by_alias=True)
    for path, schema, _ in NODES:
        here: Any = made
        for part in path.split(".")[1:]:
            here = here.get(part) if isinstance(here, dict) else None
        if "default" in schema and here is not None:
            assert schema["default"] == here, path


def test_patterns_need_no_looking_around() -> None:
    for path, schema, _ in NODES:
        assert not re.search(r"\(\?[=!<]|\\[dwsDWSbB]|\\[1-9]", schema.get("pattern", "")), path


def test_nothing_local_reaches_a_cluster() -> None:
    assert "local" not in SCHEMA["properties"]["spec"]["properties"]
    assert "local" in AgentDeployment.model_fields["spec"].annotation.model_fields  # type: ignore[union-attr]


def test_it_is_small_enough_for_everybody() -> None:
    assert len(json.dumps(crd.definition(crd.KEEP))) < ANNOTATION_LIMIT / 4


def test_the_chart_carries_the_same_and_keeps_it() -> None:
    kept = crd.definition(crd.KEEP)
    assert kept["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert kept == DEFINITION
    text = (ROOT / "charts/herald-crds/templates/agentdeployments.yaml").read_text()
    assert "helm.sh/resource-policy: keep" in text


def test_documents_leave_no_field_out() -> None:
    written = {
        re.sub(r"\.\d+", "[]", f".{path}")
        for document in (MANAGED, EXTERNAL, FAILOVER, {"status": STATUS})
        for root in ("spec", "status")
        if root in document
        for path, _, _ in walk(SCHEMA["properties"][root], document[root], root)
    }
    assert {p for p, _, _ in NODES if p and not p.endswith(".*")} - written == set()


@pytest.mark.parametrize("document", [MANAGED, EXTERNAL, FAILOVER], ids=["managed", "external", "failover"])
def test_models_keep_every_limit_of_the_schema(document: dict[str, Any]) -> None:
    wrong = []
    for limit in limits(SCHEMA, document, "spec"):
        try:
            AgentDeployment.model_validate(limit.document)
            refused = ""
        except ValueError:
            with pytest.raises(InvalidResource) as caught:
                parse([limit.document])
            refused = str(caught.value)
        if limit.broken != bool(refused) or (refused and limit.field not in refused):
            wrong.append(f"{limit}: {refused or 'accepted'}")
    assert wrong == []


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_models_judge_as_the_table_says(case: Case) -> None:
    if not case.refused:
        AgentDeployment.model_validate(case.document)
        return
    with pytest.raises(InvalidResource) as caught:
        parse([case.document])
    assert (case.models or case.refused) in str(caught.value)


def test_every_rule_is_in_the_table() -> None:
    """Except those about change, which models never see: tests/cluster holds them."""
    messages = {
        r["message"]
        for _, s, _ in NODES
        for r in s.get("x-kubernetes-validations", ())
        if "oldSelf" not in r["rule"] and not r["message"].startswith("keys have at most")
    }
    refused = [case.refused for case in CASES if case.refused]
    assert {m for m in messages if not any(r in m for r in refused)} == set()
