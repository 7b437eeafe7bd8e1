"""A cluster that somebody else made: what must not be touched there, and leaving it as it was found.

`HERALD_E2E_KUBECONFIG` names its kubeconfig. KUBECONFIG alone does not: in many a shell it names production.
"""

import contextlib
import functools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tools.cluster import Client, Trouble, binaries
from tools.images.building import built

from tests.e2e.site import OURS, SYSTEM, TARGETS, Site

KUBECONFIG = "HERALD_E2E_KUBECONFIG"
REGISTRY = "HERALD_E2E_REGISTRY"
CRD = "agentdeployments.herald.dev"
_OPERATORS = "app.kubernetes.io/name=herald-operator"
_BRING = "were all images brought there? docs/cluster.md, On a cluster of your own"


def images(registry: str) -> Mapping[str, str]:
    """Names of the images that `make images` made, which stand behind `registry` if there is one. Builds nothing."""
    local = {target: image.name for target, image in built(TARGETS).items()}
    if not registry:
        return local
    return {target: f"{registry.rstrip('/')}/{name.rpartition('/')[2]}" for target, name in local.items()}


def client(kubeconfig: str) -> Client:
    """kubectl and helm of this machine, else those that `tools.cluster` builds. Raises Trouble."""
    file = Path(kubeconfig).expanduser()
    if not file.is_file():
        raise Trouble(f"KUBECONFIG: there is no file {kubeconfig}", "name one file: make e2e KUBECONFIG=FILE")
    return Client(file.resolve(), functools.cache(lambda name: Path(shutil.which(name) or binaries.program(name))))


@contextlib.contextmanager
def visited(site: Site, say: Callable[[str], None]) -> Iterator[Site]:
    """Herald installed in somebody's cluster for as long as the block runs. Raises Trouble, before anything is done."""
    site.crds = not site.get("crd", CRD)
    refuse(site)
    had_namespace = site.get("namespace", SYSTEM) is not None
    server = site.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    say(f"the cluster at {server}, by {site.client.kubeconfig}")
    if not site.crds:
        say(f"it has the CRD {CRD}, which stays as it is")
    try:
        try:
            site.install()
        except Trouble as e:
            raise Trouble(f"{e}\n{site.state(SYSTEM)}", _BRING) from None
        yield site
    finally:
        say("leaving it as it was found ...")
        _leave(site, had_namespace)


def refuse(site: Site) -> None:
    """Raises Trouble where Herald is in use: these tests would serve, and disturb, what is somebody's."""
    found = site.get("deployments", "-A", "-l", _OPERATORS)["items"]
    if found:
        where = found[0]["metadata"]
        release = where.get("labels", {}).get("app.kubernetes.io/instance", where["name"])
        raise Trouble(
            f"this cluster has an operator already: Deployment {where['name']} in namespace {where['namespace']}",
            f"take another cluster, or: helm uninstall {release} -n {where['namespace']}",
        )
    served = site.get("agd", "-A")["items"] if not site.crds else []
    if served:
        one = served[0]["metadata"]
        raise Trouble(
            f"this cluster has AgentDeployments ({one['name']} in namespace {one['namespace']}), and the operator of "
            "these tests would serve them",
            "take another cluster",
        )


def _leave(site: Site, had_namespace: bool) -> None:
    """Everything that was put there, in an order in which the operator can still do its part."""
    wait = ("--ignore-not-found", "--wait", "--timeout=240s")
    steps: list[Callable[[], str]] = [
        lambda: site.kubectl("delete", "namespace", "-l", OURS, *wait),
        lambda: site.client.helm("uninstall", "herald", "-n", SYSTEM, "--ignore-not-found", "--wait"),
    ]
    if site.crds:
        # The chart keeps its CRD on purpose.
        steps += [
            lambda: site.client.helm("uninstall", "herald-crds", "-n", SYSTEM, "--ignore-not-found", "--wait"),
            lambda: site.kubectl("delete", "crd", CRD, *wait),
        ]
    if not had_namespace:
        steps.append(lambda: site.kubectl("delete", "namespace", SYSTEM, *wait))
    left = []
    for step in steps:
        try:
            step()
        except Trouble as e:
            left.append(str(e))
    if left:
        raise Trouble("this is left in the cluster:\n" + "\n".join(left))


def asked_for() -> str:
    """The kubeconfig that was given to these tests; empty for a node of our own."""
    return os.environ.get(KUBECONFIG, "")
