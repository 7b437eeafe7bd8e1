"""From the charts as they were last to the charts as they are: what a cluster has then, and what has not noticed.

What charts were like stands in git; without its history there is nothing to upgrade from.
"""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from tools.cluster import Cluster

from herald_operator.planning.difference import differs
from tests.cluster.conftest import ROOT
from tests.cluster.rendering import CHARTS, Object, helm, is_hook, render
from tests.resource_documents import SMALLEST

pytestmark = pytest.mark.timeout(300)

SYSTEM = "herald-system"
CRD = "agentdeployments.herald.dev"


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True)


def _last() -> str:
    """The newest commit with other charts than these: HEAD while they are being changed."""
    listed = _git("rev-list", "HEAD", "--", "charts")
    if listed.returncode != 0:
        pytest.skip("no git history here: nothing to upgrade from")
    for commit in ("HEAD", *(f"{commit}^" for commit in listed.stdout.decode().split())):
        if _git("cat-file", "-e", f"{commit}:charts").returncode != 0:
            pytest.skip(f"this clone has no charts before {commit}: nothing to upgrade from")
        if _git("diff", "--quiet", commit, "--", "charts").returncode == 1:
            return commit
    pytest.skip("these are the first charts: nothing to upgrade from")


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the charts as they were last."""
    folder = tmp_path_factory.mktemp("last")
    packed = _git("archive", _last(), "charts")
    assert packed.returncode == 0, packed.stderr
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "charts"


def test_from_the_last_charts_to_these(own_kubernetes: Cluster, last: Path) -> None:
    made = own_kubernetes
    for namespace in (SYSTEM, "team"):
        made.kubectl("create", "namespace", namespace)
    made.helm("install", "herald-crds", str(last / "herald-crds"), "-n", SYSTEM)
    made.kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=60s")
    made.helm("install", "herald", str(last / "herald"), "-n", SYSTEM)
    made.kubectl("apply", "-n", "team", "-f", "-", stdin=yaml.safe_dump(SMALLEST))
    before = _get(made, "agd", "support", "team")
    old = helm("template", "herald", str(last / "herald"), "--namespace", SYSTEM)

    made.helm("upgrade", "herald-crds", str(CHARTS / "herald-crds"), "-n", SYSTEM)
    made.helm("upgrade", "herald", str(CHARTS / "herald"), "-n", SYSTEM)

    [crd] = [o for o in render(chart="herald-crds") if o["kind"] == "CustomResourceDefinition"]
    live = _get(made, "crd", CRD)
    assert live["spec"]["versions"] == crd["spec"]["versions"], "the API server judges by the rules of this version"
    wanted = _installed(render())
    assert {name: differs(body, _get(made, *name)) for name, body in wanted.items()} == dict.fromkeys(wanted, "")
    for name in set(_installed(list(yaml.safe_load_all(old)))) - set(wanted):
        assert made.kubectl("get", *_asked(*name), "--ignore-not-found") == "", f"{name} was left behind"
    after = _get(made, "agd", "support", "team")
    for part in ("spec", "status"):
        assert after.get(part) == before.get(part)
    for part in ("uid", "generation"):
        assert after["metadata"][part] == before["metadata"][part]


def _installed(objects: list[Object]) -> dict[tuple[str, str, str], Object]:
    """What stays in a cluster, by kind, name and namespace; hooks do not."""
    return {
        (o["kind"], o["metadata"]["name"], o["metadata"].get("namespace", "")): o
        for o in objects
        if o and not is_hook(o)
    }


def _asked(kind: str, name: str, namespace: str = "") -> list[str]:
    return [kind.lower(), name, *(["-n", namespace] if namespace else [])]


def _get(cluster: Cluster, kind: str, name: str, namespace: str = "") -> Object:
    found: Object = json.loads(cluster.kubectl("get", *_asked(kind, name, namespace), "-o", "json"))
    return found
