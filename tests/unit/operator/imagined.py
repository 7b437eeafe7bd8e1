"""A cluster in memory, for plans: it takes what a plan writes, and makes ready what a test says.

An apply replaces the whole object: with one field manager that forces, what is not wanted any more goes, and nobody
else writes here. So it knows nothing of defaults, webhooks and neighbours, and of the keys of lists: those are for the
real API server (tests/cluster/operator). What an API server would never change it does not change either.
"""

import base64
import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.rollout import Rollout
from herald_operator.build import secrets as references
from herald_operator.build.context import Context
from herald_operator.build.naming import Object
from herald_operator.planning import accepting, children
from herald_operator.planning.accepting import Refusal
from herald_operator.planning.difference import differs, stamped
from herald_operator.planning.observed import Key, Messaging, Observed
from herald_operator.planning.plan import Plan, deleting, held, make, refused
from herald_operator.planning.status import differs as status_differs
from tests.resource_documents import SMALLEST, changed
from tests.unit.operator.immutable import refusal
from tests.unit.operator.rollouts import IMAGES, START

EVERY_API = frozenset(children.OPTIONAL)
_WORKLOADS = ("Deployment", "StatefulSet", "ReplicaSet")


def resource(changes: Mapping[str, Any] | None = None, document: Object = SMALLEST, **metadata: Any) -> Object:
    """A live AgentDeployment; `changes` are values at dotted paths."""
    new = changed(document, changes or {})
    new["metadata"] = {"namespace": "team", "uid": "uid-1", "generation": 1, **new["metadata"], **metadata}
    return new


@dataclass
class Imagined:
    """`entropy` makes passwords: what a test plants there must show up in no other place than Secrets."""

    resource: Object = field(default_factory=resource)
    now: datetime = START
    children: dict[Key, Object] = field(default_factory=dict)
    pods: list[Object] = field(default_factory=list)
    secrets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    made_up: dict[str, Object] = field(default_factory=dict)
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    record: Rollout | None = None
    known: bool = True
    apis: frozenset[str] = EVERY_API
    entropy: str = "entropy"

    def deployment(self) -> AgentDeployment:
        parsed = accepting.parse(self.resource)
        assert isinstance(parsed, AgentDeployment), parsed
        resolved = accepting.resolve(parsed, self.seen())
        assert isinstance(resolved, AgentDeployment), resolved
        return resolved

    def seen(self) -> Observed:
        suspended = self.resource["spec"].get("suspend", False)
        known = self.known and not suspended
        return Observed(
            resource=self.resource,
            now=self.now,
            children=dict(self.children),
            pods=tuple(self.pods),
            secrets={name: dict(data) for name, data in self.secrets.items()},
            bound=frozenset(n for n, body in self.made_up.items() if body["metadata"].get("ownerReferences")),
            texts=dict(self.texts),
            apis=self.apis,
            messaging=Messaging(known=known, record=self.record if known else None),
            entropy=self.entropy,
        )

    def context(self) -> Context:
        seen = self.seen()
        deployment = self.deployment()
        context = Context(deployment, "uid-1", IMAGES, restart=seen.annotations.get("herald.dev/restart", ""))
        return replace(context, secrets=accepting.digests(deployment, seen, b"key"))

    def give(self) -> "Imagined":
        """Every Secret and ConfigMap that the deployment refers to."""
        parsed = accepting.parse(self.resource)
        assert isinstance(parsed, AgentDeployment), parsed
        for want in references.wanted(parsed):
            if want.made != "always":
                there = self.secrets.setdefault(want.name, {})
                there |= {key: f"known-{key}".encode() for key in want.keys if key not in there}
        reference = parsed.spec.instructions_from
        if reference is not None:
            self.texts[reference.name] = {reference.key: f"From {reference.key} of {reference.name}."}
        return self

    def plan(self) -> Plan:
        parsed = accepting.parse(self.resource)
        if self.resource["metadata"].get("deletionTimestamp"):
            return deleting(self.seen())
        resolved = parsed if isinstance(parsed, Refusal) else accepting.resolve(parsed, self.seen())
        if isinstance(resolved, Refusal):
            return refused(self.seen(), resolved)
        if resolved.spec.paused:
            return held(self.context(), self.seen())
        for body in children.secrets(self.context(), self.seen()):
            data = {key: base64.b64decode(value) for key, value in body["data"].items()}
            self.secrets[body["metadata"]["name"]] = {**self.secrets.get(body["metadata"]["name"], {}), **data}
            self.made_up[body["metadata"]["name"]] = body
        return make(self.context(), self.seen())

    def carry_out(self, plan: Plan, *, most: int = 1_000_000) -> int:
        """How much there was to write. After `most` children were written the operator ends."""
        writes = 0
        for old in plan.anew:
            del self.children[old["kind"], old["metadata"]["name"]]
            writes += 1
        for planned in plan.make:
            ready, key = stamped(planned), (planned["kind"], planned["metadata"]["name"])
            if writes == most:
                return writes
            if differs(ready, self.children.get(key)):
                if key[0] == "ControllerRevision" and key in self.children:
                    assert self.children[key].get("data") == ready["data"], "an API server would refuse it"
                self.children[key] = self._applied(ready, self.children.get(key))
                writes += 1
        for scale in plan.scale:
            live = self.children.get((scale.kind, scale.name))
            if writes == most:
                return writes
            if live is not None and live["spec"].get("replicas", 1) != scale.replicas:
                live["spec"]["replicas"] = scale.replicas
                writes += 1
        for live, change in plan.patch:
            if writes == most:
                return writes
            for part, values in change.items():
                live[part] |= values
            writes += 1
        for body in plan.delete:
            if writes == most:
                return writes
            key = (body["kind"], body["metadata"]["name"])
            if body["kind"] == "Pod":
                self.pods = [p for p in self.pods if p["metadata"]["name"] != key[1]]
            self.children.pop(key, None)
            writes += 1
        if plan.record is not None:
            self.record, writes = plan.record, writes + 1
        notes = self.resource["metadata"].get("annotations") or {}
        writes += len([notes.pop(f"herald.dev/{name}") for name in plan.consume])
        if plan.finalizer is not None:
            self.resource["metadata"]["finalizers"] = ["herald.dev/ordered-deletion"] if plan.finalizer else []
            writes += 1
        if plan.status and status_differs(plan.status, self.resource.get("status") or {}):
            self.resource["status"] = copy.deepcopy(plan.status)
            writes += 1
        return writes

    def _applied(self, wanted: Object, live: Object | None) -> Object:
        refused = refusal(wanted, live)
        assert not refused, f"{wanted['kind']} {wanted['metadata']['name']}: no API server changes {refused}"
        new: Object = copy.deepcopy(wanted)
        new["metadata"] |= {"uid": f"uid-{wanted['kind']}-{wanted['metadata']['name']}", "generation": 1}
        if live is not None and "status" in live:
            new["status"] = live["status"]
        if wanted["kind"] in _WORKLOADS and "replicas" not in new["spec"]:
            new["spec"]["replicas"] = live["spec"]["replicas"] if live is not None else 1
        return new

    def well(self, *components: str, pods: bool = True) -> "Imagined":
        """Workloads of these components (none named: of all) are as they should be, autoscaled ones too."""
        for (kind, _), scaler in self.children.items():
            if kind in children.AUTOSCALERS:
                target = scaler["spec"]["scaleTargetRef"]
                live = self.children.get((target["kind"], target["name"]))
                least = scaler["spec"].get("minReplicas") or scaler["spec"]["minReplicaCount"]
                if live is not None and (kind == "ScaledObject" or live["spec"]["replicas"]):
                    live["spec"]["replicas"] = max(live["spec"]["replicas"], least)
        for (kind, name), body in self.children.items():
            component = body["metadata"]["labels"]["app.kubernetes.io/component"]
            if components and component not in components:
                continue
            if kind == "Job":
                body["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
            if kind == "Cluster":
                body["status"] = self.clustered(name, body["spec"]["instances"])
            if kind not in _WORKLOADS:
                continue
            count = body["spec"]["replicas"]
            body["status"] = {
                "observedGeneration": 1,
                **dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), count),
            }
            if pods:
                self._renew(kind, name, body, count)
        owned = tuple(f"{kind}-{name}-" for kind, name in self.children)
        self.pods = [p for p in self.pods if p["metadata"]["name"].startswith(owned)]
        return self

    def _renew(self, kind: str, name: str, body: Object, count: int) -> None:
        """Pods follow their template, but those of a ReplicaSet: it makes what is missing and changes nothing."""
        names = [f"{kind}-{name}-{n}" for n in range(count)]
        there = {p["metadata"]["name"]: p for p in self.pods} if kind == "ReplicaSet" else {}
        self.pods = [p for p in self.pods if not p["metadata"]["name"].startswith(f"{kind}-{name}-")]
        self.pods += [there.get(each) or self._pod(each, body) for each in names]

    @staticmethod
    def clustered(name: str, well: int, **more: Any) -> Object:
        """What CloudNativePG says of a Cluster with so many instances that are well, the first of them primary."""
        healthy = [f"{name}-{n}" for n in range(1, well + 1)]
        primary = {"currentPrimary": f"{name}-1", "targetPrimary": f"{name}-1"}
        counts = {"readyInstances": well, "instancesStatus": {"healthy": healthy} if well else {}}
        return {"phase": "Cluster in healthy state", **primary, **counts, **more}

    @staticmethod
    def _pod(name: str, body: Object) -> Object:
        metadata = copy.deepcopy(body["spec"]["template"]["metadata"])
        return {"kind": "Pod", "metadata": {**metadata, "name": name, "uid": f"uid-{name}"}, "status": {}}

    def rest(self, *, well: bool = True, passes: int = 15) -> Plan:
        """Passes until one writes nothing; between them what was made becomes ready."""
        for _ in range(passes):
            plan = self.plan()
            writes = self.carry_out(plan)
            before = self._health()
            if well:
                self.well()
            if not writes and before == self._health():
                return plan
        raise AssertionError("never at rest")

    def _health(self) -> dict[Key, Any]:
        """All that `well` changes, but for pods."""
        return {key: (b.get("status"), (b.get("spec") or {}).get("replicas")) for key, b in self.children.items()}

    def later(self, seconds: float) -> "Imagined":
        self.now += timedelta(seconds=seconds)
        return self

    def change(self, **changes: Any) -> "Imagined":
        """Values of the spec, by paths with `__` for dots."""
        paths = {f"spec.{path.replace('__', '.')}": value for path, value in changes.items()}
        self.resource = changed(self.resource, paths)
        self.resource["metadata"]["generation"] += 1
        return self.give()

    def ask(self, command: str, value: str = "") -> "Imagined":
        self.resource["metadata"].setdefault("annotations", {})[f"herald.dev/{command}"] = value
        return self

    def of(self, kind: str, component: str = "") -> list[Object]:
        """Live children, by name."""
        found = [body for (k, _), body in sorted(self.children.items()) if k == kind]
        label = "app.kubernetes.io/component"
        return [b for b in found if not component or b["metadata"]["labels"][label] == component]

    def condition(self, kind: str) -> Object:
        conditions: list[Object] = self.resource["status"]["conditions"]
        return next(c for c in conditions if c["type"] == kind)
