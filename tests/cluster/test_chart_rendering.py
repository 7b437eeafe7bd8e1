"""What each value of the chart does, and that one which does nothing is refused."""

import json
from importlib.metadata import version
from typing import Any

import pytest
import yaml

from herald_operator.__main__ import _parser
from herald_operator.cluster import KINDS
from tests.cluster.rendering import CHARTS, Object, Rejected, container, helm, named, of_helm_test, operator, render

pytestmark = pytest.mark.timeout(300)

DIGEST = f"sha256:{'a' * 64}"


def granted(objects: list[Object]) -> list[Object]:
    """Rules of the operator, without those for people and without the Lease's."""
    roles = [*named(objects, "ClusterRole").values(), *named(objects, "Role").values()]
    return [
        rule
        for role in roles
        if role["metadata"]["name"] == "herald-operator"
        for rule in role["rules"]
        if "leases" not in rule["resources"]
    ]


def verbs(rules: list[Object], group: str, resource: str) -> set[str]:
    return {v for r in rules if group in r["apiGroups"] and resource in r["resources"] for v in r["verbs"]}


@pytest.mark.parametrize("chart", ["herald", "herald-crds"])
def test_helm_has_nothing_to_say_about_it(chart: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHARTS / chart))


@pytest.mark.parametrize("chart", ["herald", "herald-crds"])
def test_versions_are_one(chart: str) -> None:
    described = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    assert described["appVersion"] == described["version"] == version("herald-operator")


def test_every_value_has_a_description_and_a_default() -> None:
    schema = json.loads((CHARTS / "herald" / "values.schema.json").read_text())

    def look(schema: Any, values: Any, path: str) -> None:
        assert schema["description"].endswith("."), path
        for name, inner in schema.get("properties", {}).items():
            if path or name != "global":
                look(inner, values[name], f"{path}.{name}")
        if "properties" in schema:
            assert schema["additionalProperties"] is False, path
            assert values.keys() <= schema["properties"].keys(), path

    look(schema, yaml.safe_load((CHARTS / "herald" / "values.yaml").read_text()), "")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 3}, "additional properties 'replica' not allowed"),
        ({"image": {"name": "x"}}, "additional properties 'name' not allowed"),
        ({"replicas": 0}, "/replicas"),
        ({"logLevel": "loud"}, "/logLevel"),
        ({"watchNamespaces": "a"}, "/watchNamespaces"),
        ({"watchNamespaces": ["A"]}, "/watchNamespaces/0"),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"images": {"nats": ""}}, "/images/nats"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
    ],
)
def test_a_mistake_is_named(values: Object, said: str) -> None:
    with pytest.raises(Rejected) as caught:
        render(values)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {},
            {"namespaces": "", "log_level": "info", "image_gateway": "herald/gateway:0.1.0", "image_nats": "nats:2.15"},
        ),
        ({"watchNamespaces": ["a", "b"]}, {"namespaces": "a,b"}),
        ({"logLevel": "debug"}, {"log_level": "debug"}),
        (
            {"image": {"registry": "registry.example.com/mirror/", "tag": "1.2.3"}},
            {
                "image_gateway": "registry.example.com/mirror/herald/gateway:1.2.3",
                "image_agent": "registry.example.com/mirror/herald/agent:1.2.3",
                "image_inference_cpu": "registry.example.com/mirror/herald/inference-cpu:1.2.3",
                "image_postgres": "postgres:18",
            },
        ),
        (
            {"images": {"agent": f"me/agent@{DIGEST}", "milvus": "me/milvus:1", "inferenceGpu": "me/triton:1"}},
            {"image_agent": f"me/agent@{DIGEST}", "image_milvus": "me/milvus:1", "image_inference_gpu": "me/triton:1"},
        ),
        ({"images": {"pullSecrets": ["one", "two"]}}, {"image_pull_secrets": "one,two"}),
        ({"extraArgs": ["--workers=3"]}, {"workers": 3}),
    ],
)
def test_the_operator_understands_its_arguments(values: Object, expected: Object) -> None:
    given = vars(_parser().parse_args(container(render(values))["args"]))
    assert given["lease_namespace"] == "herald-system"
    assert {name: given[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "herald/operator:0.1.0"),
        ({"tag": "2"}, "herald/operator:2"),
        ({"digest": DIGEST}, f"herald/operator:0.1.0@{DIGEST}"),
        ({"registry": "r.example.com", "repository": "x/y"}, "r.example.com/x/y:0.1.0"),
    ],
)
def test_the_operators_own_image(image: Object, expected: str) -> None:
    assert container(render({"image": image}))["image"] == expected


def test_the_pod_is_as_restricted_as_pods_get() -> None:
    objects = render()
    pod, only = operator(objects)["spec"], container(objects)
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is True
    [account] = named(objects, "ServiceAccount").values()
    assert account["automountServiceAccountToken"] is False
    assert {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in only["env"]} == {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
    }
    assert (only["livenessProbe"]["httpGet"]["path"], only["readinessProbe"]["httpGet"]["path"]) == (
        "/healthz/live",
        "/healthz/ready",
    )


def test_what_people_say_about_pods_reaches_them() -> None:
    spread = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
    objects = render(
        {
            "replicas": 3,
            "image": {"pullSecrets": ["mine"]},
            "podAnnotations": {"a": "b"},
            "podLabels": {"team": "x"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": spread,
            "priorityClassName": "high",
            "extraEnv": [{"name": "A", "value": "b"}],
            "resources": {"limits": {"memory": "1Gi"}},
        }
    )
    [deployment] = named(objects, "Deployment").values()
    template, pod = deployment["spec"]["template"], deployment["spec"]["template"]["spec"]
    assert deployment["spec"]["replicas"] == 3
    assert template["metadata"]["annotations"] == {"a": "b"}
    assert (
        template["metadata"]["labels"].items() >= {"team": "x", **deployment["spec"]["selector"]["matchLabels"]}.items()
    )
    assert pod["imagePullSecrets"] == [{"name": "mine"}]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["affinity"] == {"nodeAffinity": {}}
    assert pod["topologySpreadConstraints"] == spread
    assert pod["priorityClassName"] == "high"
    assert container(objects)["env"][-1] == {"name": "A", "value": "b"}
    assert container(objects)["resources"]["limits"] == {"memory": "1Gi"}


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ({"podDisruptionBudget": {"enabled": False}}, {"PodDisruptionBudget": 0}),
        ({"metrics": {"service": {"enabled": False}}}, {"Service": 0}),
        ({"metrics": {"serviceMonitor": {"enabled": True}}}, {"Service": 1, "ServiceMonitor": 1}),
        ({"networkPolicy": {"enabled": True}}, {"NetworkPolicy": 1}),
        ({"serviceAccount": {"create": False, "name": "mine"}}, {"ServiceAccount": 0}),
        ({"rbac": {"create": False}}, {"ClusterRole": 2, "ClusterRoleBinding": 0, "Role": 0}),
        ({"rbac": {"aggregate": False}}, {"ClusterRole": 1}),
        ({"watchNamespaces": ["a", "b"]}, {"ClusterRole": 2, "ClusterRoleBinding": 0, "Role": 3, "RoleBinding": 3}),
        ({"watchNamespaces": ["a"], "rbac": {"aggregate": False}}, {"ClusterRole": 0, "Role": 2}),
        ({}, {"Deployment": 1, "PodDisruptionBudget": 1, "Service": 1, "ServiceMonitor": 0, "NetworkPolicy": 0}),
    ],
)
def test_what_is_made(values: Object, kinds: dict[str, int]) -> None:
    objects = render(values)
    assert {kind: len(named(objects, kind)) for kind in kinds} == kinds


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["team-a"]}], ids=["everywhere", "in one namespace"])
def test_rights_are_those_that_the_operator_uses(values: Object) -> None:
    rules = granted(render(values))
    for kind in KINDS.values():
        group = kind.api_version.rpartition("/")[0]
        has = verbs(rules, group, kind.plural)
        if kind.plural == "secrets":
            assert has == {"get", "create", "patch", "delete"}
        elif kind.plural == "pods":
            assert has == {"get", "list", "watch", "delete"}
        elif kind.plural == "agentdeployments":
            assert has == {"get", "list", "watch", "patch"}
        elif kind.plural == "clusters":
            assert has == {"get", "list", "watch", "create", "patch"}, "a database goes with its owner, or not at all"
        else:
            assert has == {"get", "list", "watch", "create", "patch", "delete"}, kind.plural
    assert {r["apiGroups"][0] for r in rules} - {k.api_version.rpartition("/")[0] for k in KINDS.values()} <= (
        {"apiextensions.k8s.io"} if not values else set()
    )


def test_no_right_is_a_wildcard_and_none_lists_secrets() -> None:
    for role in (*named(render(), "ClusterRole").values(), *named(render(), "Role").values()):
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            assert "secrets" not in rule["resources"] or not {"list", "watch"} & set(rule["verbs"])


@pytest.mark.parametrize(
    ("values", "roles", "account"),
    [
        ({}, ["ClusterRole/herald-operator-test", "Role/herald-operator-test-lease"], "herald-operator-test"),
        (
            {"watchNamespaces": ["a", "b"]},
            ["Role/herald-operator-test", "Role/herald-operator-test", "Role/herald-operator-test-lease"],
            "herald-operator-test",
        ),
        ({"rbac": {"create": False}}, [], "herald-operator"),
        ({"serviceAccount": {"create": False, "name": "mine"}}, [], "mine"),
    ],
    ids=["everywhere", "in two namespaces", "no rights are made", "no account is made"],
)
def test_helm_test_may_look_and_nothing_else(values: Object, roles: list[str], account: str) -> None:
    *rights, pod = of_helm_test(values)
    assert pod["spec"]["serviceAccountName"] == account
    found = [o for o in rights if "rules" in o]
    assert sorted(f"{o['kind']}/{o['metadata']['name']}" for o in found) == roles
    for rule in (rule for role in found for rule in role["rules"]):
        assert (rule["resources"], rule["verbs"]) in ((["agentdeployments"], ["get", "list"]), (["leases"], ["get"]))
        assert rule["resources"] != ["leases"] or rule["resourceNames"] == ["herald-operator"]
    for made in rights:
        policy = made["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert policy == "before-hook-creation,hook-succeeded", "nothing is left of it"


def test_two_releases_do_not_meet() -> None:
    names = [{(o["kind"], o["metadata"]["name"]) for o in render(release=r)} for r in ("herald", "other")]
    assert not names[0] & names[1]


@pytest.mark.parametrize(
    ("release", "name"),
    [("herald", "herald-operator"), ("my-herald", "my-herald-operator"), ("x", "x-herald-operator")],
)
def test_names_follow_the_release(release: str, name: str) -> None:
    assert [*named(render(release=release), "Deployment")] == [f"herald-system/{name}"]
