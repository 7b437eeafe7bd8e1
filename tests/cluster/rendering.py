"""Our charts, rendered by a real Helm."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml
from tools.cluster import binaries

Object = dict[str, Any]
CHARTS = Path(__file__).parents[2] / "charts"


class Rejected(Exception):
    """Helm's own words."""


def helm(*arguments: str, values: Object | None = None) -> str:
    """Standard output of a command that needs no cluster. Raises Rejected."""
    given = ["--values", "-"] if values is not None else []
    done = subprocess.run(
        [binaries.program("helm"), *arguments, *given], input=json.dumps(values or {}), capture_output=True, text=True
    )
    if done.returncode != 0:
        raise Rejected(done.stdout + done.stderr)
    return done.stdout


def render(values: Object | None = None, *, chart: str = "herald", release: str = "herald") -> list[Object]:
    """All objects that an installation into `herald-system` would make."""
    return [made for made in _all(values, chart, release) if not is_hook(made)]


def of_helm_test(values: Object | None = None) -> list[Object]:
    """All that `helm test` makes for a while, the pod last."""
    return sorted(
        (made for made in _all(values, "herald", "herald") if is_hook(made)), key=lambda o: o["kind"] == "Pod"
    )


def is_hook(made: Object) -> bool:
    """Whether Helm makes it for a moment of its own, and not for an installation."""
    return "helm.sh/hook" in made["metadata"].get("annotations", {})


def _all(values: Object | None, chart: str, release: str) -> list[Object]:
    text = helm("template", release, str(CHARTS / chart), "--namespace", "herald-system", values=values or {})
    return [document for document in yaml.safe_load_all(text) if document]


def named(objects: list[Object], kind: str) -> dict[str, Object]:
    """Those of a kind: `namespace/name`, or the name alone, -> object."""
    found = {}
    for made in objects:
        if made["kind"] == kind:
            metadata = made["metadata"]
            found["/".join(filter(None, (metadata.get("namespace"), metadata["name"])))] = made
    return found


def operator(objects: list[Object]) -> Object:
    """The Deployment's pod template."""
    [deployment] = named(objects, "Deployment").values()
    template: Object = deployment["spec"]["template"]
    return template


def container(objects: list[Object]) -> Object:
    [only] = operator(objects)["spec"]["containers"]
    found: Object = only
    return found
