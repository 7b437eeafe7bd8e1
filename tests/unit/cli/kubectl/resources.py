"""AgentDeployments as an operator leaves them, for tests of what is said about them."""

from typing import Any

from herald_cli.kubectl.deployment import Deployment

ACTIVE, OLDER, OLDEST = "v1-cccccccccccc", "v1-bbbbbbbbbbbb", "v1-aaaaaaaaaaaa"


def condition(kind: str, status: str = "True", reason: str = "Ready", message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


IDLE = (
    condition("Accepted", reason="Accepted"),
    condition("Progressing", "False", "Idle"),
    condition("Promoted", reason="Promoted"),
    condition("Ready", message="messages are accepted and answered"),
)


def entry(revision: str, number: int, outcome: str, promoted: str | None, message: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"revision": revision, "number": number, "outcome": outcome}
    if promoted is not None:
        made["promotedAt"] = promoted
    if message:
        made["message"] = message
    return made


HISTORY = (
    entry(ACTIVE, 3, "Successful", "2026-01-03T00:00:00Z"),
    entry(OLDER, 2, "Successful", "2026-01-02T00:00:00Z"),
    entry(OLDEST, 1, "Successful", "2026-01-01T00:00:00Z"),
)


def deployment(
    *conditions: dict[str, Any],
    name: str = "support",
    namespace: str = "acme",
    spec: dict[str, Any] | None = None,
    generation: int = 2,
    observed: int = 2,
    **status: Any,
) -> Deployment:
    """All is well unless said otherwise. Fields of `status` are those of the API."""
    return Deployment(
        {
            "apiVersion": "herald.dev/v1alpha1",
            "kind": "AgentDeployment",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{name}",
                "generation": generation,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": spec or {},
            "status": {
                "observedGeneration": observed,
                "phase": "Ready",
                "activeRevision": ACTIVE,
                "stableRevision": ACTIVE,
                "history": list(HISTORY),
                "conditions": list(conditions or IDLE),
                "components": [{"name": "nats", "ready": True, "message": ""}],
                "channels": [{"name": "web", "type": "web", "callbackURL": ""}],
                **status,
            },
        }
    )
