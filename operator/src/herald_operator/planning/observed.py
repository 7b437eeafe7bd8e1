"""What the operator sees of one deployment at one moment: values, for pure decisions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from herald_contracts.rollout import Rollout
from herald_operator.build.naming import Object

Key = tuple[str, str]  # kind, name


@dataclass(frozen=True, slots=True)
class Messaging:
    """How NATS was when it was last asked. `known` is False while it does not answer or has not been asked yet."""

    known: bool = False
    message: str = ""
    kept: tuple[str, ...] = ()
    record: Rollout | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """`children` and `pods` are live objects of this owner only.

    `secrets` and `texts` hold what was asked for by name: None where there is no such Secret or ConfigMap. `apis`
    are the optional kinds that the cluster serves. `bound` are those of the Secrets that go when the resource goes.
    `entropy` is a fresh random text, for passwords that are missing.
    """

    resource: Object
    now: datetime
    children: Mapping[Key, Object] = field(default_factory=dict)
    pods: tuple[Object, ...] = ()
    secrets: Mapping[str, Mapping[str, bytes] | None] = field(default_factory=dict)
    bound: frozenset[str] = frozenset()
    texts: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    apis: frozenset[str] = frozenset()
    messaging: Messaging = Messaging()
    entropy: str = field(default="", repr=False)

    @property
    def deleting(self) -> str | None:
        """When deletion was asked for."""
        moment: str | None = self.resource["metadata"].get("deletionTimestamp")
        return moment

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.resource["metadata"].get("annotations") or {}

    @property
    def finalizers(self) -> tuple[str, ...]:
        return tuple(self.resource["metadata"].get("finalizers") or ())

    def child(self, kind: str, name: str) -> Object | None:
        return self.children.get((kind, name))

    def of_kind(self, kind: str) -> Iterable[Object]:
        return (body for (k, _), body in self.children.items() if k == kind)

    def pods_with(self, labels: Mapping[str, str]) -> tuple[Object, ...]:
        return tuple(p for p in self.pods if labels.items() <= _labels(p).items())


def _labels(body: Object) -> Mapping[str, Any]:
    return body["metadata"].get("labels") or {}
