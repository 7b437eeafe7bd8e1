"""Everything in manifests/ and examples/ is taken: by the real CRD, and by our own models."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.cluster import Cluster

from herald_contracts.resources.parse import parse
from tests.cluster.deployments import Deployments
from tests.resource_documents import changed

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
FILES = sorted([*MANIFESTS.glob("*.yaml"), *(ROOT / "examples").glob("*.yaml")])


def documents(text: str) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all(text) if d]


def test_there_are_manifests() -> None:
    assert {"quickstart.yaml", "production.yaml"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_it_is_taken(kubernetes: Cluster, deployments: Deployments, path: Path) -> None:
    kubernetes.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(path))
    parse(documents(path.read_text()))


def test_production_is_what_it_says(deployments: Deployments) -> None:
    [production, _] = documents((MANIFESTS / "production.yaml").read_text())
    spec = production["spec"]
    assert spec["messaging"]["nats"]["managed"]["replicas"] == 3
    assert "external" in spec["database"]
    assert "external" in spec["agent"]["memory"]["milvus"]
    assert {"gpu", "cache"} <= spec["inference"].keys()
    assert "httpRoute" in spec["gateway"]["route"]
    # Its comments say what cannot change later.
    with deployments.existing(production):
        fewer = changed(production, {"spec.messaging.nats.managed.replicas": 1})
        assert "one NATS server's messages" in deployments.refusal_of_change(fewer)
        larger = changed(production, {"spec.messaging.nats.managed.storage.size": "60Gi"})
        assert "a volume keeps its size" in deployments.refusal_of_change(larger)


def test_kustomize_builds_it_and_follows_names(kubernetes: Cluster, deployments: Deployments) -> None:
    built = kubernetes.kubectl("kustomize", str(MANIFESTS / "kustomize" / "base"))
    kubernetes.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=built)
    made = {d["kind"]: d for d in documents(built)}
    name = made["ConfigMap"]["metadata"]["name"]
    assert name.startswith("support-instructions-")
    assert made["AgentDeployment"]["spec"]["instructionsFrom"]["name"] == name


def test_kustomize_knows_every_reference() -> None:
    """Every field that names a Secret or a ConfigMap is in references.yaml."""
    from tools.gen import crd

    found: set[str] = set()

    def look(schema: dict[str, Any], path: str) -> None:
        for name, inner in schema.get("properties", {}).items():
            here = f"{path}/{name}"
            if name in ("secretRef", "instructionsFrom"):
                found.add(f"{here}/name")
            elif name in ("tlsSecret", "pullSecrets"):
                found.add(here)
            else:
                look(inner.get("items", inner), here)

    look(crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec")
    references = yaml.safe_load((MANIFESTS / "kustomize" / "base" / "references.yaml").read_text())
    assert {f["path"] for kind in references["nameReference"] for f in kind["fieldSpecs"]} == found


def test_argo_cd_gets_the_parts_in_order() -> None:
    [whole] = documents((MANIFESTS / "argocd" / "herald.yaml").read_text())
    assert (ROOT / whole["spec"]["source"]["path"]).is_dir()
    waves = []
    for path in (MANIFESTS / "argocd" / "applications").glob("*.yaml"):
        [application] = documents(path.read_text())
        source = application["spec"]["source"]
        assert (ROOT / source["path"]).is_dir()
        waves.append((int(application["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]), source["path"]))
    assert [path for _, path in sorted(waves)] == ["charts/herald-crds", "charts/herald", "manifests/kustomize/base"]
    assert len({wave for wave, _ in waves}) == 3
