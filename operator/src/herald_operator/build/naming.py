"""How the children of one deployment are called and labelled. Pure.

Labels are an allow-list of our own: copying the parent's would make Argo CD take the children for its own. For the
same reason what has no owner, so that it outlives its deployment, goes without `app.kubernetes.io/instance`: by that
label older Argo CDs know what belongs to an Application, and one with the deployment's name would prune the data.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from herald_contracts.resources.v1alpha1 import API_VERSION, KIND, AgentDeployment

Object = dict[str, Any]

FIELD_MANAGER = "herald"
STATUS_MANAGER = "herald-status"
MANAGED_BY = "herald-operator"
DEPLOYMENT = "herald.dev/deployment"
INSTANCE = "app.kubernetes.io/instance"
REVISION = "herald.dev/revision"
APPLIED = "herald.dev/applied"  # annotation: digest of what was last applied, so that a dropped field is noticed
SETTINGS = "herald.dev/settings"  # annotation of pods: digest of the settings and secrets that they began with
FINALIZER = "herald.dev/ordered-deletion"
SELECTOR = {"app.kubernetes.io/managed-by": MANAGED_BY}  # what the operator watches


@dataclass(frozen=True, slots=True)
class Owner:
    """The resource that all children hang on."""

    namespace: str
    name: str
    uid: str

    def reference(self) -> Object:
        # blockOwnerDeletion would need a right on the parent's finalizers that is not ours to ask for.
        return {"apiVersion": API_VERSION, "kind": KIND, "name": self.name, "uid": self.uid, "controller": True}

    def child(self, suffix: str) -> str:
        """Name of a child; at most 63 characters, because it becomes a label and a host name."""
        return shortened(f"{self.name}-{suffix}", 63)

    def labels(self, component: str, **more: str) -> dict[str, str]:
        return {
            "app.kubernetes.io/name": "herald",
            INSTANCE: self.name,
            "app.kubernetes.io/component": component,
            **SELECTOR,
            DEPLOYMENT: self.name,
            **more,
        }

    def selector(self, component: str, **more: str) -> dict[str, str]:
        """What finds the pods of a component: the part of its labels that never changes.

        A StatefulSet writes it on its volumes too, which have no owner.
        """
        return {DEPLOYMENT: self.name, "app.kubernetes.io/component": component, **more}

    def object(
        self,
        kind: str,
        api_version: str,
        name: str,
        component: str,
        body: Object,
        *,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        owned: bool = True,
    ) -> Object:
        """A whole child. `owned` false: it stays when the deployment goes."""
        own = self.labels(component)
        if not owned:
            del own[INSTANCE]
        metadata: Object = {"name": name, "namespace": self.namespace, "labels": {**own, **(labels or {})}}
        if annotations:
            metadata["annotations"] = annotations
        if owned:
            metadata["ownerReferences"] = [self.reference()]
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}


def owner(deployment: AgentDeployment, uid: str) -> Owner:
    return Owner(deployment.metadata.namespace, deployment.metadata.name, uid)


def made_by_cloudnativepg(deployment: AgentDeployment) -> str:
    """Name of the Secret of the application's own login: its Cluster's name, and `-app`."""
    return f"{owner(deployment, '').child('postgres')}-app"


def digest(value: Any, length: int = 16) -> str:
    """The same for equal values, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def shortened(name: str, most: int) -> str:
    """`name`, or its beginning and a digest of the whole where it is too long."""
    if len(name) <= most:
        return name
    return f"{name[: most - 9].rstrip('-')}-{digest(name, 8)}"
