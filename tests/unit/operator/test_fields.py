"""Every field of the spec has an effect or is refused: each is changed, one by one, and something must be different."""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from herald_contracts.resources.v1alpha1 import Spec
from herald_operator.build.nats import streams
from herald_operator.planning import accepting
from herald_operator.planning.accepting import Refusal
from tests.resource_documents import EXTERNAL, GONE, MANAGED, Document, changed
from tests.unit.operator.imagined import EVERY_API, Imagined, resource
from tests.unit.operator.specs import FAILOVER, ON_CPU, OPENAI, PRODUCTION, imagined

_AUTOSCALED = changed(
    MANAGED,
    {
        "spec.suspend": False,
        "spec.paused": False,
        "spec.agent.replicas": GONE,
        "spec.agent.autoscaling": {"min": 2, "max": 9, "lagThreshold": 10, "cpuPercent": 60},
        "spec.gateway.replicas": GONE,
        "spec.gateway.autoscaling": {"min": 2, "max": 9, "cpuPercent": 60},
    },
)
BASES: dict[str, Document] = {
    "managed": changed(MANAGED, {"spec.suspend": False, "spec.paused": False}),
    "production": PRODUCTION,
    "openai": OPENAI,
    "cpu": ON_CPU,
    "autoscaled": _AUTOSCALED,
    "failover": FAILOVER,
}
# Where a change of this field is looked for, when it is not in every base that has it.
ONLY_IN = {
    # In the other it is refused: there is no such model in the image.
    "inference.model": ("managed", "production", "openai", "cpu", "autoscaled"),
    "agent.memory.milvus.external.url": ("production",),  # without memory there is nothing to reach
}
# No effect in a cluster, and why.
EXCEPTIONS = {
    "local.host": "one machine only: the CRD has no such field",
    "local.port": "one machine only: the CRD has no such field",
    "rollout.autoPromote": "shapes decisions, not children: test_rollout",
    "rollout.progressDeadlineSeconds": "shapes decisions, not children: test_rollout",
    "rollout.scaleDownDelaySeconds": "shapes decisions, not children: test_rollout",
    "rollout.revisionHistoryLimit": "shapes decisions, not children: test_rollout",
    "agent.autoscaling.cpuPercent": "without KEDA only: test_cpu_is_what_counts_without_keda",
    "inference.gpu.tolerations.operator": "Equal and Exists exclude each other's fields: refused",
}


def paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every leaf of the models, by its name in a document; items of lists under the list's own name."""
    for name, info in model.model_fields.items():
        path = f"{prefix}{info.alias or name}"
        inner = _model_in(info.annotation)
        if inner is None:
            yield path
        else:
            yield from paths(inner, f"{path}.")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is dict:
        return None
    return next((m for a in get_args(annotation) if (m := _model_in(a)) is not None), None)


def leaves(value: Any, path: str = "spec") -> Iterator[tuple[str, Any]]:
    """Leaves of a document, with indexes in their paths; mappings that people fill are leaves."""
    free = ("requests", "limits", "annotations", "nodeSelector")
    if isinstance(value, dict) and (not path.endswith(free) or path == "spec.gateway.limits"):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{index}")
    else:
        yield path, value


def plain(path: str) -> str:
    return ".".join(part for part in path.removeprefix("spec.").split(".") if not part.isdigit())


_WORDS = {
    "whenDeleted": "Delete",
    "Retain": "Delete",
    "Delete": "Retain",
    "ReadWriteOnce": "ReadWriteMany",
    "ReadWriteMany": "ReadWriteOnce",
    "hold": "resend",
    "resend": "hold",
    "Always": "Never",
    "debug": "info",
    "NoExecute": "NoSchedule",
    "Equal": "Exists",
    "llmapi": "cpu",
    "cpu": "llmapi",
    "triton": "openai",
    "openai": "triton",
}


def other(path: str, value: Any) -> Any:
    """Another value of the same kind that the models take."""
    if isinstance(value, bool):
        return not value
    if path.endswith(".connections"):
        return 8  # shared out among many workers, so that one more or less is the same for each
    if isinstance(value, int | float):
        return 3 - value if path.endswith("nats.managed.replicas") and value != 3 else 1 if value == 3 else value - 1
    if isinstance(value, dict):
        return {**value, "memory": "1500Mi"} if path.endswith(("requests", "limits")) else {**value, "a.example/x": "y"}
    if isinstance(value, list):
        return [*value, "10.9.8.7" if path.endswith("trustedProxies") else "another"]
    if value in _WORDS:
        return _WORDS[value]
    if value.endswith("Gi") and value[:-2].isdigit():
        return f"{int(value[:-2]) + 1}Gi"
    if "://" in value:
        return value.replace("example.com", "other.example") if "example.com" in value else "https://open.feishu.cn"
    return f"{value}x"


@cache
def at_rest(base: str) -> Imagined:
    return imagined(BASES[base])


def outcome(base: str, document: Document) -> Any:
    """All that the operator would do next if this were the spec of a deployment that answers, or its refusal."""
    world = copy.deepcopy(at_rest(base))
    world.resource["spec"] = document["spec"]
    parsed = accepting.parse(world.resource)
    if isinstance(parsed, Refusal):
        return parsed
    plan = world.give().plan()
    return plan, streams(world.context()), sorted(world.secrets)


@cache
def before(base: str) -> Any:
    return outcome(base, BASES[base])


CASES = [
    pytest.param(base, path, value, id=f"{base}: {path}")
    for base, document in BASES.items()
    for path, value in leaves(document["spec"])
    if base in ONLY_IN.get(plain(path), BASES)
    # In each of them: what has an effect with GPUs may have none without.
    and plain(path) not in EXCEPTIONS
]


@pytest.mark.parametrize(("base", "path", "value"), CASES)
def test_a_field_has_an_effect_or_is_refused(base: str, path: str, value: Any) -> None:
    new = changed(copy.deepcopy(BASES[base]), {path: other(path, value)})
    assert outcome(base, new) != before(base), f"{path} means nothing"


ADDED = [
    pytest.param(base, f"spec.{part}.{field}", value, id=f"{base}: {part}.{field}")
    for base, document in BASES.items()
    for part in ("inference", "images")
    for field, value in ({**EXTERNAL["spec"].get(part, {}), **MANAGED["spec"][part]}).items()
    if field not in document["spec"].get(part, {})
    # A memory that is off is only switched off, as a suspended deployment is; and Triton is what is there anyway.
    and (base, field) not in (("openai", "milvus"), ("failover", "backend"))
]


@pytest.mark.parametrize(("base", "path", "value"), ADDED)
def test_a_field_of_another_engine_has_an_effect_or_is_refused(base: str, path: str, value: Any) -> None:
    new = changed(copy.deepcopy(BASES[base]), {path: value})
    assert outcome(base, new) != before(base), f"{path} means nothing"


def test_every_field_is_among_them() -> None:
    everywhere = {plain(path) for document in BASES.values() for path, _ in leaves(document["spec"])}
    known = everywhere | set(EXCEPTIONS) | {"suspend", "paused"}  # test_plan
    assert {p for p in paths(Spec) if p not in known} == set()
    assert not [p for p in EXCEPTIONS if p not in set(paths(Spec))], "an exception for nothing"


def test_cpu_is_what_counts_without_keda() -> None:
    made = []
    for percent in (60, 61):
        document = changed(_AUTOSCALED, {"spec.agent.autoscaling.cpuPercent": percent})
        world = Imagined(resource(document=document), apis=EVERY_API - {"ScaledObject"}).give()
        world.rest()
        made.append([b["spec"] for b in world.of("HorizontalPodAutoscaler", "agent")])
    assert made[0] != made[1]
    assert len(made[0]) == 1
