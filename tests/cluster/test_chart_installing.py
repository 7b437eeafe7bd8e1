"""The charts on a real API server: install, upgrade, use, uninstall."""

import json

import pytest
import yaml
from tools.cluster import Cluster, Trouble

from tests.cluster.rendering import CHARTS, of_helm_test
from tests.resource_documents import SMALLEST
from tests.waiting import eventually_sync

pytestmark = pytest.mark.timeout(300)

SYSTEM = "herald-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:herald-operator"
TESTER = f"{OPERATOR}-test"  # while `helm test` runs


@pytest.fixture(scope="module")
def cluster(own_kubernetes: Cluster) -> Cluster:
    """The CRD is Helm's here, and the operator's namespace takes restricted pods only."""
    made = own_kubernetes
    for namespace in (SYSTEM, "team"):
        made.kubectl("create", "namespace", namespace)
    made.kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
    made.helm("install", "herald-crds", str(CHARTS / "herald-crds"), "--namespace", SYSTEM)
    made.wait_established("agentdeployments.herald.dev")
    made.kubectl("apply", "--namespace", "team", "-f", "-", stdin=yaml.safe_dump(SMALLEST))
    return made


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> str:
    """What Helm says at the end."""
    said = cluster.helm("install", "herald", str(CHARTS / "herald"), "--namespace", SYSTEM)
    cluster.kubectl("apply", "-f", "-", stdin=_of_helm_test())
    return said


def _of_helm_test() -> str:
    """The account of `helm test` and its rights, which Helm makes for as long as that runs."""
    *rights, _ = of_helm_test()
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": rights})


def test_the_notes_name_the_next_command(installed: str) -> None:
    assert "Herald 0.1.0 serves all namespaces." in installed
    assert "kubectl --namespace herald-system rollout status deployment/herald-operator" in installed
    assert "herald-crds" not in installed  # it is there already


def test_pods_are_admitted_where_only_restricted_ones_are(cluster: Cluster, installed: str) -> None:
    def pods() -> bool:
        listed = cluster.kubectl(
            "get", "pods", "-n", SYSTEM, "-l", "app.kubernetes.io/name=herald-operator", "-o", "name"
        )
        return len(listed.split()) == 2

    eventually_sync(pods, what="two pods of the operator")
    tester = of_helm_test()[-1]
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(tester))


@pytest.mark.parametrize(
    ("who", "question", "answer"),
    [
        (OPERATOR, "list agentdeployments.herald.dev -A", "yes"),
        (OPERATOR, "patch agentdeployments.herald.dev --subresource=status -n team", "yes"),
        (OPERATOR, "update agentdeployments.herald.dev -n team", "no"),
        (OPERATOR, "create statefulsets.apps -n team", "yes"),
        (OPERATOR, "patch replicasets.apps --subresource=scale -n team", "yes"),
        (OPERATOR, "get secrets -n team", "yes"),
        (OPERATOR, "list secrets -n team", "no"),
        (OPERATOR, "watch secrets -n team", "no"),
        (OPERATOR, "create pods -n team", "no"),
        (OPERATOR, "create roles.rbac.authorization.k8s.io -n team", "no"),
        (OPERATOR, "get pods --subresource=exec -n team", "no"),
        (OPERATOR, "create leases.coordination.k8s.io -n herald-system", "yes"),
        (OPERATOR, "update leases.coordination.k8s.io/herald-operator -n herald-system", "yes"),
        (OPERATOR, "update leases.coordination.k8s.io/another -n herald-system", "no"),
        (OPERATOR, "create leases.coordination.k8s.io -n team", "no"),
        (OPERATOR, "list namespaces", "yes"),
        (OPERATOR, "delete namespaces", "no"),
        (TESTER, "list agentdeployments.herald.dev -A", "yes"),
        (TESTER, "patch agentdeployments.herald.dev -n team", "no"),
        (TESTER, "get leases.coordination.k8s.io/herald-operator -n herald-system", "yes"),
        (TESTER, "update leases.coordination.k8s.io/herald-operator -n herald-system", "no"),
        (TESTER, "get secrets -n team", "no"),
        (TESTER, "list pods -n team", "no"),
        ("somebody", "get agentdeployments.herald.dev -n team", "no"),
        ("viewer", "get agentdeployments.herald.dev -n team", "yes"),
        ("viewer", "create agentdeployments.herald.dev -n team", "no"),
        ("editor", "create agentdeployments.herald.dev -n team", "yes"),
        ("editor", "patch agentdeployments.herald.dev --subresource=scale -n team", "yes"),
        ("editor", "patch agentdeployments.herald.dev --subresource=status -n team", "no"),
    ],
)
def test_who_may_do_what(cluster: Cluster, installed: str, who: str, question: str, answer: str) -> None:
    for name, role in (("viewer", "view"), ("editor", "edit")):
        bind = ["create", "rolebinding", name, f"--clusterrole={role}", f"--user={name}", "-n", "team"]
        manifest = cluster.kubectl(*bind, "--dry-run=client", "-o", "yaml")
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
    # Roles are added to `view` and `edit` by a controller, a moment after they are made.
    eventually_sync(lambda: _asked(cluster, who, question) == answer, what=f"{who}: {question}: {answer}")


def _asked(cluster: Cluster, who: str, question: str) -> str:
    try:
        return cluster.kubectl("auth", "can-i", *question.split(), "--as", who).strip()
    except Trouble:
        return "no"  # its exit code says so too


def test_an_upgrade_changes_what_it_should(cluster: Cluster, installed: str) -> None:
    namespaces = "{team,other}"
    cluster.kubectl("create", "namespace", "other")
    said = cluster.helm(
        "upgrade", "herald", str(CHARTS / "herald"), "-n", SYSTEM, "--set", f"watchNamespaces={namespaces},replicas=1"
    )
    assert "the namespaces team, other" in said
    deployment = json.loads(cluster.kubectl("get", "deployment", "herald-operator", "-n", SYSTEM, "-o", "json"))
    assert deployment["spec"]["replicas"] == 1
    assert "--namespaces=team,other" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    eventually_sync(lambda: _asked(cluster, OPERATOR, "list pods -A") == "no", what="no right beyond its namespaces")
    assert _asked(cluster, OPERATOR, "list pods -n team") == "yes"
    assert _asked(cluster, OPERATOR, "list customresourcedefinitions.apiextensions.k8s.io") == "no"
    cluster.helm("upgrade", "herald", str(CHARTS / "herald"), "-n", SYSTEM, "--reset-values")
    eventually_sync(lambda: _asked(cluster, OPERATOR, "list pods -A") == "yes", what="every namespace again")


def test_the_crds_are_upgraded_by_their_chart(cluster: Cluster, installed: str) -> None:
    cluster.kubectl(
        "patch", "crd", "agentdeployments.herald.dev", "--type=json",
        "-p", '[{"op": "replace", "path": "/spec/versions/0/additionalPrinterColumns", "value": []}]',
    )  # fmt: skip
    assert "MODEL" not in cluster.kubectl("get", "agd", "-n", "team")
    cluster.helm("upgrade", "herald-crds", str(CHARTS / "herald-crds"), "-n", SYSTEM, "--force-conflicts")
    eventually_sync(lambda: "MODEL" in cluster.kubectl("get", "agd", "-n", "team"), what="the columns are back")


def test_uninstalling_loses_nothing(cluster: Cluster, installed: str) -> None:
    cluster.kubectl("delete", "-f", "-", stdin=_of_helm_test())
    cluster.helm("uninstall", "herald", "--namespace", SYSTEM)
    cluster.helm("uninstall", "herald-crds", "--namespace", SYSTEM)
    assert "herald-operator" not in cluster.kubectl("get", "clusterroles,deployments", "-n", SYSTEM, "-o", "name")
    assert cluster.kubectl("get", "agd", "-n", "team", "-o", "name").split() == ["agentdeployment.herald.dev/support"]
    cluster.helm("install", "herald-crds", str(CHARTS / "herald-crds"), "-n", SYSTEM, "--take-ownership")
