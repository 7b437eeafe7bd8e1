"""Rules that hold for everything that is rendered, whatever the spec."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from herald_operator.build.naming import DEPLOYMENT, Object
from herald_operator.build.secrets import wanted
from tests.resource_documents import changed
from tests.unit.operator.specs import ALL, imagined, rendered

_LABEL = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_VALUE = re.compile(r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")
# The pods of CloudNativePG's are no template of ours.
FOREIGN = {"failover": "NetworkPolicy/support-postgres"}
every = pytest.mark.parametrize("name", ALL)


@cache
def children(name: str) -> tuple[Object, ...]:
    return tuple(rendered(ALL[name]))


def templates(name: str) -> Iterator[tuple[str, Object]]:
    for body in children(name):
        template = (body.get("spec") or {}).get("template")
        if template is not None:
            yield f"{body['kind']}/{body['metadata']['name']}", template


def containers(name: str) -> Iterator[tuple[str, Object]]:
    for where, template in templates(name):
        for container in (*template["spec"].get("initContainers", ()), *template["spec"]["containers"]):
            yield f"{where}/{container['name']}", container


@every
def test_pods_pass_pod_security_restricted(name: str) -> None:
    """kubernetes.io, Pod Security Standards: every check of `restricted`."""
    seen = 0
    for where, template in templates(name):
        seen += 1
        spec = template["spec"]
        for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            assert not spec.get(field), where
        allowed = {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim", "downwardAPI", "name"}
        for volume in spec["volumes"]:
            assert set(volume) <= allowed, where
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, where
        assert security["runAsUser"] > 0, where
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert set(security) <= {
            "runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "seccompProfile",
        }, where  # fmt: skip
    for where, container in containers(name):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, where
        assert not any("hostPort" in port for port in container.get("ports", ())), where
    assert seen >= 3


@every
def test_pods_carry_no_token_and_belong_to_the_account(name: str) -> None:
    accounts = [b for b in children(name) if b["kind"] == "ServiceAccount"]
    assert [a["automountServiceAccountToken"] for a in accounts] == [False]
    for where, template in templates(name):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, where
        assert spec["enableServiceLinks"] is False, where
        assert spec["serviceAccountName"] == accounts[0]["metadata"]["name"], where


@every
def test_containers_say_what_they_need_and_where_they_write(name: str) -> None:
    for where, container in containers(name):
        resources = container["resources"]
        if where.split("/")[1].count("inference") and name == "cpu":
            assert resources == {"limits": {"cpu": "1500m"}}, "what a person wrote is all there is"
            continue
        assert resources["requests"]["memory"], where
        assert resources["limits"]["memory"], where
        assert container["imagePullPolicy"], where
        mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
        assert not mounts["/tmp"].get("readOnly"), where
    for where, template in templates(name):
        names = [volume["name"] for volume in template["spec"]["volumes"]]
        claimed = {"data"} if where.startswith("StatefulSet") else set()
        mounted = {m["name"] for c in template["spec"]["containers"] for m in c["volumeMounts"]}
        assert mounted == set(names) | claimed, where
        assert len(names) == len(set(names)), where
        for container in template["spec"]["containers"]:
            paths = [m["mountPath"] for m in container["volumeMounts"]]
            assert len(paths) == len(set(paths)), where


@every
def test_no_secret_value_stands_outside_secrets(name: str) -> None:
    world = imagined(ALL[name], entropy="hunter2")
    values = {v.decode() for data in world.secrets.values() for key, v in data.items() if key not in ("user",)}
    assert len(values) >= 2
    assert any(re.fullmatch("[0-9a-f]{48}", value) for value in values), "made-up passwords are among them"
    everything = json.dumps([*world.children.values(), world.resource["status"]])
    for value in values:
        assert value not in everything
    assert "hunter2" not in everything


@every
def test_names_and_labels_are_ones_that_kubernetes_takes(name: str) -> None:
    for body in children(name):
        metadata = body["metadata"]
        assert _LABEL.match(metadata["name"]), metadata["name"]
        if body["kind"] == "StatefulSet":
            assert len(metadata["name"]) <= 52, "its pods carry a hash of the revision as a label"
        for key, value in _all_labels(body):
            assert _VALUE.match(value), (metadata["name"], key, value)
        assert metadata["namespace"] == "team"
        assert metadata["labels"][DEPLOYMENT] == ALL[name]["metadata"]["name"]
    for where, template in templates(name):
        for volume in template["spec"]["volumes"]:
            assert _LABEL.match(volume["name"]), where
        for container in template["spec"]["containers"]:
            for port in container.get("ports", ()):
                assert len(port["name"]) <= 15, where


def _all_labels(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("labels", "matchLabels") and isinstance(inner, dict):
                yield from inner.items()
            yield from _all_labels(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _all_labels(inner)


@every
def test_children_hang_on_the_deployment_but_for_what_must_stay(name: str) -> None:
    keep = ALL[name]["spec"].get("deletionPolicy", "Retain") == "Retain"
    for body in children(name):
        owners = body["metadata"].get("ownerReferences", [])
        if body["kind"] in ("PersistentVolumeClaim", "Cluster") and keep:
            assert not owners
            continue
        assert [(o["uid"], o["controller"]) for o in owners] == [("uid-1", True)], body["metadata"]["name"]
        assert "blockOwnerDeletion" not in owners[0]
        if body["kind"] == "StatefulSet":
            policy = body["spec"]["persistentVolumeClaimRetentionPolicy"]
            assert policy == {"whenDeleted": "Retain" if keep else "Delete", "whenScaled": "Retain"}


@every
def test_whatever_is_referred_to_is_there(name: str) -> None:
    world = imagined(ALL[name])
    there = {(b["kind"], b["metadata"]["name"]) for b in children(name)}
    secrets = {*world.secrets, *(w.name for w in wanted(world.deployment()))}
    images = ALL[name]["spec"].get("images", {})
    for where, template in templates(name):
        spec = template["spec"]
        for kind, reference in _references(spec["volumes"]):
            assert reference in secrets if kind == "Secret" else (kind, reference) in there, (where, reference)
        assert [s["name"] for s in spec.get("imagePullSecrets", ())] == images.get("pullSecrets", []), where
    for body in children(name):
        spec = body.get("spec") or {}
        for target in (spec.get("scaleTargetRef"), {"kind": "Service", "name": spec.get("serviceName")}):
            if target and target["name"]:
                assert (target["kind"], target["name"]) in there
        if body["kind"] == "HTTPRoute":
            backends = [b["name"] for rule in spec["rules"] for b in rule["backendRefs"]]
            assert {("Service", b) for b in backends} <= there


def _references(volumes: list[Object]) -> Iterator[tuple[str, str]]:
    for volume in volumes:
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            if "secret" in source:
                yield "Secret", source["secret"].get("secretName") or source["secret"]["name"]
            if "configMap" in source:
                yield "ConfigMap", source["configMap"]["name"]
            if "persistentVolumeClaim" in source:
                yield "PersistentVolumeClaim", source["persistentVolumeClaim"]["claimName"]


@every
def test_selectors_find_the_pods_that_they_are_for_and_no_others(name: str) -> None:
    pods = {where: template["metadata"]["labels"] for where, template in templates(name)}

    def found(selector: Object) -> set[str]:
        return {where for where, labels in pods.items() if selector.items() <= labels.items()}

    for body in children(name):
        kind, where = body["kind"], f"{body['kind']}/{body['metadata']['name']}"
        spec = body.get("spec") or {}
        if kind in ("Deployment", "StatefulSet", "ReplicaSet"):
            assert found(spec["selector"]["matchLabels"]) == {where}
        if kind == "Service":
            assert len(found(spec["selector"])) == 1, where
            ports = {p["name"] for f in found(spec["selector"]) for c in _containers_of(name, f) for p in c["ports"]}
            assert {str(p["targetPort"]) for p in spec["ports"]} <= ports
        if kind in ("PodDisruptionBudget", "PodMonitor"):
            assert found(spec["selector"]["matchLabels"]), where
        if kind == "NetworkPolicy" and not where.endswith("-closed"):
            unused = (where.endswith("-inference") and name == "openai") or where == FOREIGN.get(name)
            assert bool(found(spec["podSelector"]["matchLabels"])) is not unused, where
        if kind == "NetworkPolicy" and where.endswith("-closed"):
            assert found(spec["podSelector"]["matchLabels"]) == set(pods)


def _containers_of(name: str, where: str) -> list[Object]:
    found: list[Object] = dict(templates(name))[where]["spec"]["containers"]
    return found


@every
def test_optional_kinds_are_only_made_where_they_are_served(name: str) -> None:
    # Without its database nothing of it comes to rest: test_cloudnativepg has that.
    needed = frozenset({"Cluster"} if "cloudNativePG" in ALL[name]["spec"].get("database", {}) else ())
    kinds = {b["kind"] for b in rendered(ALL[name], apis=needed)}
    assert kinds & {"HTTPRoute", "ScaledObject", "TriggerAuthentication", "PodMonitor", "Cluster"} == needed


@pytest.mark.parametrize(("limit", "threads"), [("1500m", "2"), ("2", "2"), ("0.5", "1"), ("1k", "1000"), (3, "3")])
def test_a_model_computes_with_the_cpus_that_it_may_use(limit: str | int, threads: str) -> None:
    """An amount may be written in any of Kubernetes' ways."""
    made = rendered(changed(ALL["cpu"], {"spec.inference.resources": {"limits": {"cpu": limit}}}))
    [triton] = [b for b in made if b["kind"] == "Deployment" and "-inference-" in b["metadata"]["name"]]
    env = {e["name"]: e["value"] for e in triton["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["HERALD_CHAT_THREADS"] == threads
