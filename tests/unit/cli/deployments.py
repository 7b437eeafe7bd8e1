"""Deployments and snapshots for this folder's tests."""

from datetime import UTC, datetime
from typing import Any

from herald_cli.state import Component, Snapshot
from herald_contracts.resources.v1alpha1 import AgentDeployment

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

HMAC: dict[str, Any] = {"name": "hmac", "hmac": {"secretRef": {"name": "hmac-key"}, "replyURL": "http://127.0.0.1:1/r"}}
STANDARD: dict[str, Any] = {
    "name": "std",
    "standardWebhooks": {"secretRef": {"name": "std-key"}, "replyURL": "http://127.0.0.1:1/r"},
}
FEISHU: dict[str, Any] = {"name": "lark", "feishu": {"appId": "cli_a1b2c3", "secretRef": {"name": "lark-app"}}}
WEB: dict[str, Any] = {"name": "web", "web": {}}


def deployment(**spec: Any) -> AgentDeployment:
    return AgentDeployment.model_validate(
        {
            "apiVersion": "herald.dev/v1alpha1",
            "kind": "AgentDeployment",
            "metadata": {"name": "support"},
            "spec": {
                "instructions": "You answer.",
                "channels": [WEB],
                "inference": {"model": "scripted"},
                **spec,
            },
        }
    )


def snapshot(*components: Component, **changes: Any) -> Snapshot:
    first = Snapshot(
        namespace="default",
        name="support",
        file="/somewhere/agent.yaml",
        digest="d",
        revision="v1-abc",
        pid=4242,
        started=1,
        since=NOW,
        phase="running",
        gateway="http://127.0.0.1:8080",
        web="http://127.0.0.1:8080/channels/web/",
        components=components,
    )
    return first.model_copy(update=changes)
