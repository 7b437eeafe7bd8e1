"""The deployments that rules and snapshots are about, and all that is rendered for one."""

import copy
import json
from functools import cache
from typing import Any

from herald_operator.build.naming import Object
from tests.resource_documents import EXTERNAL, GONE, MANAGED, SMALLEST, Document, changed
from tests.unit.operator.imagined import EVERY_API, Imagined, resource

_AWAKE = {"spec.suspend": False, "spec.paused": False}
_CPU: dict[str, Any] = {
    "spec.inference": {
        "model": "/cache/chat.gguf",
        "backend": "triton",
        "replicas": 2,
        "maxTokens": 512,
        "maxInputTokens": 8_192,
        "temperature": 0.5,
        "cache": {"volume": {"size": "10Gi", "storageClassName": "fast"}, "accessMode": "ReadWriteMany"},
        "resources": {"limits": {"cpu": "1500m"}},
    }
}

QUICKSTART: Document = {
    **changed(
        SMALLEST,
        {
            "spec.instructions": "You answer IT questions for the staff of Acme.",
            "spec.inference.model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        },
    )
}
PRODUCTION: Document = changed(
    MANAGED,
    {
        **_AWAKE,
        "spec.deletionPolicy": "Retain",
        "spec.database": EXTERNAL["spec"]["database"],
        "spec.agent": EXTERNAL["spec"]["agent"],
        "spec.rollout.autoPromote": True,
        "spec.images.postgres": GONE,
        "spec.images.milvus": GONE,
    },
)
OPENAI: Document = changed(EXTERNAL, {"spec.agent": {"replicas": 1, "memory": {"enabled": False}}})
ON_CPU: Document = changed(MANAGED, {**_AWAKE, **_CPU})
FAILOVER: Document = changed(
    QUICKSTART,
    {
        "spec.agent": {"autoscaling": {"min": 2, "max": 9, "lagThreshold": 10}},
        "spec.images": {"postgres": "registry.example.com/postgresql:18.1", "pullSecrets": ["registry"]},
        "spec.database": {
            "cloudNativePG": {
                "instances": 3,
                "storage": {"size": "20Gi", "storageClassName": "fast"},
                "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}},
            }
        },
    },
)
LONGEST: Document = changed(
    MANAGED,
    {
        **_AWAKE,
        "metadata.name": "n" * 40,
        "spec.channels": [{"name": f"{letter * 39}-"[:39] + "z", "web": {}} for letter in "abcdefghijklmnop"],
    },
)

ALL: dict[str, Document] = {
    "quickstart": QUICKSTART,
    "production": PRODUCTION,
    "openai": OPENAI,
    "managed": changed(MANAGED, _AWAKE),
    "external": EXTERNAL,
    "cpu": ON_CPU,
    "longest": LONGEST,
    "failover": FAILOVER,
}


def imagined(document: Document, *, entropy: str = "entropy", apis: frozenset[str] = EVERY_API) -> Imagined:
    """At rest, and answering; one of its own for each who asks."""
    return copy.deepcopy(_imagined(json.dumps(document), entropy, apis))


@cache
def _imagined(text: str, entropy: str, apis: frozenset[str]) -> Imagined:
    document = json.loads(text)
    world = Imagined(resource(document=document), entropy=entropy, apis=apis).give()
    world.rest()
    assert world.record is not None, world.resource["status"]
    return world


def rendered(document: Document, *, apis: frozenset[str] = EVERY_API) -> list[Object]:
    """Every child, as it is applied, in an order of its own."""
    world = imagined(document, apis=apis)
    # The next look applies the same, the migration apart, which is done.
    made = {(o["kind"], o["metadata"]["name"]): o for o in world.plan().make}
    for key, body in world.children.items():
        if key not in made:
            made[key] = {k: v for k, v in body.items() if k != "status"}
    return [made[key] for key in sorted(made)]
