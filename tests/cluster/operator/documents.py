"""AgentDeployments for a cluster whose pods only claim to run: NATS is a real one outside, all else is Herald's."""

from typing import Any

from tests.resource_documents import Document, changed
from tests.servers import Nats

LOGIN = "messaging"  # name of the Secret with NATS' user and password


def smallest(nats: Nats, name: str = "support", **fields: Any) -> Document:
    """One that is ready within seconds. `fields` are those of the spec, with `__` for dots."""
    document: Document = {
        "apiVersion": "herald.dev/v1alpha1",
        "kind": "AgentDeployment",
        "metadata": {"name": name},
        "spec": {
            "instructions": "You answer IT questions.",
            "channels": [{"name": "web", "web": {}}],
            "inference": {"model": "scripted"},
            "messaging": {
                "nats": {"external": {"url": nats.settings.url, "secretRef": {"name": LOGIN}, "storage": "64Mi"}}
            },
            "agent": {"memory": {"enabled": False}},
            "rollout": {"scaleDownDelaySeconds": 1, "drainDeadlineSeconds": 5},
        },
    }
    return with_spec(document, **fields)


def with_spec(document: Document, **fields: Any) -> Document:
    """The same with other fields of the spec."""
    return changed(document, {f"spec.{name.replace('__', '.')}": value for name, value in fields.items()})
