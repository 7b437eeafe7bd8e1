"""The CustomResourceDefinition of AgentDeployment, made from the models that Herald itself reads it with."""

from typing import Any

from herald_contracts.resources.v1alpha1 import GROUP, KIND, PLURAL, VERSION, AgentDeployment, Metadata, Spec
from herald_contracts.resources.v1alpha1.status import Status
from tools.gen.structural import Node, structural, validation

NAME = f"{PLURAL}.{GROUP}"
KEEP = {"helm.sh/resource-policy": "keep"}
_READY = '.status.conditions[?(@.type=="Ready")]'


def definition(annotations: dict[str, str] | None = None) -> Node:
    """The whole object. `annotations` are those of the chart that carries it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME} | ({"annotations": annotations} if annotations else {}),
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["agd"],
                "categories": ["all", "herald"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": _columns(),
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.agent.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "schema": {"openAPIV3Schema": _schema()},
                }
            ],
        },
    }


def _schema() -> Node:
    """apiVersion, kind and metadata are the API server's own; of metadata only the name may be bounded here."""
    name = Metadata.model_json_schema()["properties"]["name"]
    return {
        "description": AgentDeployment.__doc__,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"Always {GROUP}/{VERSION}.", "type": "string"},
            "kind": {"description": f"Always {KIND}.", "type": "string"},
            "metadata": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": name["maxLength"]}},
            },
            "spec": structural(Spec, defaults=True),
            "status": structural(Status, defaults=False),
        },
        "x-kubernetes-validations": [validation(r.expression, r.message, r.path) for r in AgentDeployment.rules],
    }


def _columns() -> list[dict[str, Any]]:
    def column(name: str, path: str, says: str, *, kind: str = "string", wide: bool = False) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": name, "type": kind, "description": says, "jsonPath": path}
        return shown | ({"priority": 1} if wide else {})

    return [
        column("Phase", ".status.phase", "One word for people."),
        column("Ready", f"{_READY}.status", "Whether messages are answered."),
        column("Active", ".status.activeRevision", "Revision that answers now."),
        column("Candidate", ".status.candidateRevision", "Revision that is being started or checked."),
        column("Model", ".spec.inference.model", "The model."),
        column("Age", ".metadata.creationTimestamp", "Time since it was created.", kind="date"),
        # Last, because it is a sentence: how a slow start goes on can be watched.
        column("Status", f"{_READY}.message", "What it waits for, and what to do."),
        column("Channels", ".status.channelNames", "Bots on chat platforms.", wide=True),
        column("Reason", f"{_READY}.reason", "Why it is, or is not, ready.", wide=True),
    ]
