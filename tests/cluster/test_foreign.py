"""End-to-end tests in a cluster of somebody else keep away from a Herald that is used there, and leave nothing behind.

No pod ever starts in this one, so the installation fails; what comes before and after it is what this is about.
"""

import json
from collections.abc import Iterator

import pytest
import yaml
from tools.cluster import Cluster, Trouble

from tests.cluster.conftest import ROOT
from tests.e2e import foreign
from tests.e2e.site import SYSTEM, TARGETS, Site
from tests.resource_documents import SMALLEST

pytestmark = pytest.mark.timeout(300)
CHARTED = ROOT / "charts" / "herald-crds"


@pytest.fixture
def site(own_kubernetes: Cluster) -> Iterator[Site]:
    made = Site(own_kubernetes.client, {target: f"localhost/{target}:none" for target in TARGETS}, patience=3)
    yield made
    for kind, name in (("namespace", SYSTEM), ("crd", foreign.CRD)):
        made.kubectl("delete", kind, name, "--ignore-not-found")


def _visit(site: Site) -> str:
    """What was said when it failed."""
    with pytest.raises(Trouble) as told, foreign.visited(site, lambda _: None):
        pytest.fail("an operator without a node leads")
    return str(told.value)


def _kinds(site: Site) -> set[str]:
    """Whatever of Herald is in the cluster."""
    kinds = "namespaces,crds,clusterroles,clusterrolebindings"
    names: list[str] = site.kubectl("get", kinds, "-o", "name").split()
    return {name for name in names if "herald" in name}


def test_what_fails_says_why_and_leaves_nothing(site: Site) -> None:
    said = _visit(site)
    assert "herald-operator" in said, "its pods, as a person would look for them first"
    assert "were all images brought there? docs/cluster.md" in said
    assert _kinds(site) == set()


def test_what_was_there_stays(site: Site) -> None:
    """The CRD of somebody is neither upgraded nor deleted, nor is the namespace."""
    site.kubectl("create", "namespace", SYSTEM)
    crd = json.loads(site.kubectl("create", "-o", "json", "-f", str(CHARTED / "templates" / "agentdeployments.yaml")))
    _visit(site)
    kept = site.get("crd", foreign.CRD)
    assert (kept["metadata"]["uid"], kept["spec"]) == (crd["metadata"]["uid"], crd["spec"])
    assert "meta.helm.sh/release-name" not in kept["metadata"]["annotations"]
    assert _kinds(site) == {f"namespace/{SYSTEM}", f"customresourcedefinition.apiextensions.k8s.io/{foreign.CRD}"}


def test_an_operator_of_somebody(site: Site) -> None:
    site.client.helm("install", "theirs", str(ROOT / "charts" / "herald"), "-n", SYSTEM, "--create-namespace")
    before = _kinds(site)
    try:
        said = _visit(site)
        assert (
            "this cluster has an operator already: Deployment theirs-herald-operator in namespace herald-system" in said
        )
        assert "helm uninstall theirs -n herald-system" in said
        assert _kinds(site) == before
    finally:
        site.client.helm("uninstall", "theirs", "-n", SYSTEM)


def test_an_agentdeployment_of_somebody(site: Site) -> None:
    site.kubectl("create", "-f", str(CHARTED / "templates" / "agentdeployments.yaml"))
    site.kubectl("wait", "--for=condition=Established", f"crd/{foreign.CRD}", "--timeout=60s")
    site.kubectl("apply", "-n", "default", "-f", "-", stdin=yaml.safe_dump(SMALLEST))
    before = _kinds(site)
    assert f"({SMALLEST['metadata']['name']} in namespace default)" in _visit(site)
    assert _kinds(site) == before
