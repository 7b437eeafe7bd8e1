"""AgentDeployments that say everything there is to say, for tests that break one field at a time.

No single one can: some fields exclude each other. A test checks that together they leave no field of the CRD out.
"""

import copy
from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]
GONE = object()  # as a changed value: without the field

SMALLEST: Document = {
    "apiVersion": "herald.dev/v1alpha1",
    "kind": "AgentDeployment",
    "metadata": {"name": "support"},
    "spec": {
        "instructions": "You answer IT questions.",
        "channels": [{"name": "web", "web": {}}],
        "inference": {"model": "scripted"},
    },
}

_RESOURCES = {
    "requests": {"cpu": "500m", "memory": "1Gi"},
    "limits": {"cpu": 2, "memory": "2Gi", "nvidia.com/gpu": 1},
}
_VOLUME = {"size": "10Gi", "storageClassName": "fast"}
_SECRET = {"name": "a-secret"}
_AUTOSCALING = {"min": 1, "cpuPercent": 70}
_SIGNED = {"secretRef": _SECRET, "replyURL": "https://example.com/replies", "onUnknown": "hold"}

MANAGED: Document = {
    **SMALLEST,
    "spec": {
        "instructions": "You answer IT questions.",
        "channels": [
            {"name": "web", "web": {"title": "Help"}},
            {"name": "hooks", "hmac": _SIGNED},
            {"name": "standard", "standardWebhooks": _SIGNED},
            {
                "name": "team",
                "feishu": {
                    "appId": "cli_a1b2c3d4",
                    "secretRef": _SECRET,
                    "baseURL": "https://open.larksuite.com",
                    "streaming": False,
                },
            },
        ],
        "gateway": {
            "replicas": 3,
            "host": "chat.example.com",
            "route": {
                "httpRoute": {"parentRef": {"name": "public", "namespace": "infra", "sectionName": "https"}},
            },
            "trustedProxies": ["10.0.0.0/8"],
            "limits": {
                "bodyBytes": 2_048,
                "headerBytes": 2_048,
                "headerSeconds": 2.5,
                "bodySeconds": 3,
                "connectionsPerAddress": 8,
                "connections": 64,
                "jsonDepth": 8,
                "jsonKeys": 100,
            },
            "resources": _RESOURCES,
        },
        "messaging": {"nats": {"managed": {"replicas": 3, "storage": _VOLUME, "resources": _RESOURCES}}},
        "database": {"managed": {"storage": _VOLUME, "resources": _RESOURCES}},
        "agent": {
            "replicas": 3,
            "concurrency": 8,
            "perUser": 2,
            "turnSeconds": 60,
            "historyMessages": 10,
            "memory": {
                "enabled": True,
                "recallMilliseconds": 100,
                "milvus": {"managed": {"storage": _VOLUME, "resources": _RESOURCES}},
            },
            "resources": _RESOURCES,
        },
        "inference": {
            "model": "Qwen/Qwen3-8B",
            "backend": "triton",
            "engine": "llmapi",
            "gpu": {
                "count": 2,
                "nodeSelector": {"example.com/gpu": "h100"},
                "tolerations": [
                    {
                        "key": "dedicated",
                        "operator": "Equal",
                        "value": "gpu",
                        "effect": "NoExecute",
                        "tolerationSeconds": 60,
                    }
                ],
                "runtimeClassName": "nvidia",
            },
            "replicas": 2,
            "maxBatchSize": 64,
            "maxTokens": 512,
            "maxInputTokens": 8_192,
            "temperature": 0.5,
            "cache": {"volume": _VOLUME, "accessMode": "ReadWriteMany"},
            "secretRef": _SECRET,
            "resources": _RESOURCES,
        },
        "rollout": {
            "autoPromote": False,
            "progressDeadlineSeconds": 300,
            "drainDeadlineSeconds": 60,
            "scaleDownDelaySeconds": 5,
            "revisionHistoryLimit": 5,
        },
        "images": {
            "gateway": "registry.example.com/herald/gateway:1",
            "agent": "registry.example.com/herald/agent:1",
            "inference": "registry.example.com/triton:1",
            "nats": "registry.example.com/nats:1",
            "postgres": "registry.example.com/postgres:1",
            "milvus": "registry.example.com/milvus:1",
            "pullPolicy": "Always",
            "pullSecrets": ["registry"],
        },
        "deletionPolicy": "Delete",
        "suspend": True,
        "paused": True,
        "logLevel": "debug",
    },
}

EXTERNAL: Document = {
    **SMALLEST,
    "spec": {
        "instructionsFrom": {"name": "prompts", "key": "support.md"},
        "channels": [{"name": "web", "web": {}}],
        "gateway": {
            "autoscaling": {**_AUTOSCALING, "max": 100},
            "host": "chat.example.com",
            "route": {"ingress": {"className": "nginx", "tlsSecret": "tls", "annotations": {"example.com/a": "b: c"}}},
        },
        "messaging": {
            "nats": {
                "external": {
                    "url": "tls://nats.example.com:4222",
                    "secretRef": _SECRET,
                    "replicas": 3,
                    "storage": "8Gi",
                }
            }
        },
        "database": {"external": {"secretRef": _SECRET, "connections": 200}},
        "agent": {
            "autoscaling": {**_AUTOSCALING, "max": 32, "lagThreshold": 10},
            "memory": {"milvus": {"external": {"url": "http://milvus.example.com:19530", "secretRef": _SECRET}}},
        },
        "inference": {
            "model": "some-model",
            "backend": "openai",
            "openai": {"baseURL": "https://models.example.com/v1", "secretRef": _SECRET},
        },
    },
}

FAILOVER: Document = {
    **SMALLEST,
    "spec": {
        **SMALLEST["spec"],
        "database": {"cloudNativePG": {"instances": 5, "storage": _VOLUME, "resources": _RESOURCES}},
    },
}

_NOW = "2026-11-22T12:00:00Z"
STATUS: Document = {
    "observedGeneration": 2,
    "phase": "Ready",
    "activeRevision": "5d8f7c9b",
    "candidateRevision": "7f6b5c4d",
    "stableRevision": "5d8f7c9b",
    "history": [
        {"revision": "5d8f7c9b", "number": 1, "promotedAt": _NOW, "outcome": "Successful", "message": "it answers"}
    ],
    "channels": [{"name": "web", "type": "web", "callbackURL": "https://chat.example.com/channels/web/events"}],
    "channelNames": "web",
    "components": [{"name": "gateway", "ready": True, "message": "2 of 2"}],
    "replicas": 2,
    "selector": "app.kubernetes.io/component=agent",
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "observedGeneration": 2,
            "lastTransitionTime": _NOW,
            "reason": "AllReady",
            "message": "messages are answered",
        }
    ],
}


def changed(document: Document, changes: Mapping[str, Any]) -> Document:
    """A copy with the value at each dotted path replaced, added, or taken away (GONE). Lists take an index."""
    new = copy.deepcopy(document)
    for path, value in changes.items():
        *parents, last = path.split(".")
        here: Any = new
        for part in parents:
            here = here[int(part)] if isinstance(here, list) else here.setdefault(part, {})
        if value is GONE:
            del here[last]
        elif isinstance(here, list):
            here[int(last)] = value
        else:
            here[last] = value
    return new
