"""What Argo CD must be told to understand Herald: a script in a file of its own goes into its ConfigMap here."""

from pathlib import Path

from herald_contracts.resources.v1alpha1 import GROUP, KIND
from tools.gen.structural import Node

SCRIPT = Path(__file__).parents[2] / "manifests" / "argocd" / "health.lua"

# Argo CD's documentation, operator-manual/health.md: without it an Application of Applications waits for nobody.
_APPLICATION = """\
local health = { status = "Progressing", message = "" }
if obj.status ~= nil and obj.status.health ~= nil then
  health.status = obj.status.health.status
  health.message = obj.status.health.message or ""
end
return health
"""


def config_map() -> Node:
    """A patch of `argocd-cm`."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "namespace": "argocd"},
        "data": {
            f"resource.customizations.health.{GROUP}_{KIND}": SCRIPT.read_text(),
            "resource.customizations.health.argoproj.io_Application": _APPLICATION,
        },
    }
