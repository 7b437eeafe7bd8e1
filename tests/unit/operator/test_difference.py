"""What is worth an apply: what we want and is not so, and nothing that an API server or others added."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herald_operator.build.naming import APPLIED
from herald_operator.planning.difference import differs, stamped

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a", "namespace": "b", "labels": {"ours": "1"}, "annotations": {"note": "x"}},
    "spec": {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "containers": [
                    {
                        "name": "main",
                        "image": "image:1",
                        "args": ["--one", "--two"],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": ""}],
                        "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
                        "resources": {"requests": {"cpu": "0.5", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3},
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "s", "emptyDir": {"sizeLimit": "1Gi"}}],
            },
        },
    },
}
POLICY: dict[str, Any] = {
    "kind": "NetworkPolicy",
    "spec": {
        "podSelector": {"matchLabels": {"app": "a"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [{"podSelector": {"matchLabels": {"app": "b"}}}], "ports": [{"protocol": "TCP", "port": 1}]}
        ],
    },
}
SERVICE: dict[str, Any] = {
    "kind": "Service",
    "spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
}


def put(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy in which the value at a path of keys and indexes is another; `+` at its end appends."""
    new: dict[str, Any] = copy.deepcopy(document)
    *parents, last = path.split(".")
    here: Any = new
    for part in parents:
        here = here[int(part)] if isinstance(here, list) else here.setdefault(part, {})
    if last == "+":
        here.append(value)
    elif value is ...:
        del here[int(last) if isinstance(here, list) else last]
    else:
        here[int(last) if isinstance(here, list) else last] = value
    return new


_POD = "spec.template.spec"
_MAIN = f"{_POD}.containers.0"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # An API server's own.
        ("metadata.uid", "1"),
        ("metadata.managedFields", [{"manager": "herald"}]),
        ("status", {"availableReplicas": 1}),
        ("spec.revisionHistoryLimit", 10),
        (f"{_POD}.restartPolicy", "Always"),
        (f"{_POD}.enableServiceLinks", ...),
        (f"{_POD}.automountServiceAccountToken", ...),
        (f"{_POD}.volumes.0.emptyDir", None),
        (f"{_POD}.volumes.0.emptyDir", {"medium": ""}),
        (f"{_MAIN}.terminationMessagePath", "/dev/termination-log"),
        (f"{_MAIN}.readinessProbe.successThreshold", 1),
        (f"{_MAIN}.env.1.value", ...),
        # Others'.
        ("metadata.labels.theirs", "2"),
        ("metadata.annotations.theirs", "2"),
        ("metadata.finalizers", ["theirs"]),
        (f"{_POD}.containers.+", {"name": "sidecar", "image": "mesh:1"}),
        (f"{_POD}.volumes.+", {"name": "token", "projected": {}}),
        (f"{_MAIN}.env.+", {"name": "INJECTED", "value": "1"}),
        (f"{_MAIN}.resources.limits.cpu", "1"),
        # An autoscaler's: nobody says how many.
        ("spec.replicas", 7),
        # The same amount in other words.
        (f"{_MAIN}.resources.requests.cpu", "500m"),
        (f"{_MAIN}.resources.requests.memory", "1024Mi"),
        (f"{_MAIN}.resources.limits.memory", "2147483648"),
        (f"{_POD}.volumes.1.emptyDir.sizeLimit", "1048576Ki"),
    ],
)
def test_what_others_add_is_no_difference(path: str, value: Any) -> None:
    wanted = stamped(DEPLOYMENT)
    assert differs(wanted, put(wanted, path, value)) == ""


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("metadata.labels.ours", "2", ".metadata.labels.ours"),
        ("metadata.labels.ours", ..., ".metadata.labels.ours"),
        ("spec.strategy.rollingUpdate.maxUnavailable", "25%", ".spec.strategy.rollingUpdate.maxUnavailable"),
        ("spec.strategy.rollingUpdate", ..., ".spec.strategy.rollingUpdate"),
        ("spec.selector.matchLabels.more", "b", ".spec.selector"),
        (f"{_POD}.automountServiceAccountToken", True, f".{_POD}.automountServiceAccountToken"),
        (f"{_MAIN}.image", "image:2", f".{_POD}.containers[main].image"),
        (f"{_MAIN}.name", "other", f".{_POD}.containers[main]"),
        (f"{_MAIN}.args", ["--two", "--one"], f".{_POD}.containers[main].args[0]"),
        (f"{_MAIN}.args.+", "--three", f".{_POD}.containers[main].args"),
        (f"{_MAIN}.args", None, f".{_POD}.containers[main].args"),
        (f"{_MAIN}.args", "--one", f".{_POD}.containers[main].args"),
        (f"{_MAIN}.env.0.value", "01", f".{_POD}.containers[main].env[A].value"),
        (f"{_MAIN}.env.0", ..., f".{_POD}.containers[main].env[A]"),
        (f"{_MAIN}.ports.0.containerPort", "80", f".{_POD}.containers[main].ports[http].containerPort"),
        (f"{_MAIN}.resources.requests.cpu", "501m", f".{_POD}.containers[main].resources.requests.cpu"),
        (f"{_MAIN}.resources.requests.memory", "1G", f".{_POD}.containers[main].resources.requests.memory"),
        (f"{_MAIN}.resources.requests.memory", "lots", f".{_POD}.containers[main].resources.requests.memory"),
        (f"{_MAIN}.readinessProbe", None, f".{_POD}.containers[main].readinessProbe"),
        (f"{_POD}.containers", [], f".{_POD}.containers[main]"),
    ],
)
def test_what_is_not_as_we_want_it_is_named(path: str, value: Any, said: str) -> None:
    wanted = stamped(DEPLOYMENT)
    assert differs(wanted, put(wanted, path, value)) == said


@pytest.mark.parametrize(
    ("document", "path", "value"),
    [
        (SERVICE, "spec.selector.theirs", "b"),
        (POLICY, "spec.podSelector.matchLabels.theirs", "b"),
        (POLICY, "spec.ingress.+", {"ports": [{"port": 2}]}),
        (POLICY, "spec.ingress.0.ports.+", {"protocol": "TCP", "port": 2}),
        (POLICY, "spec.ingress.0.ports.0.endPort", 9),
        (POLICY, "spec.ingress.0.from.+", {"namespaceSelector": {}}),
        (POLICY, "spec.ingress.0.from.0.namespaceSelector", {}),
        (POLICY, "spec.ingress.0.from", ...),
    ],
)
def test_nobody_widens_what_selects_or_allows(document: dict[str, Any], path: str, value: Any) -> None:
    """argo-rollouts: a Service edited by hand. These are whole for an API server too: an apply replaces them."""
    wanted = {**document, "metadata": {"name": "a"}}
    assert differs(stamped(wanted), put(stamped(wanted), path, value)) != ""


def test_a_field_that_is_not_wanted_any_more_is_noticed() -> None:
    """Its value is still there, and nothing says that it was ours, but for the digest of all that we wanted."""
    live = stamped(DEPLOYMENT)
    wanted = stamped(put(DEPLOYMENT, f"{_MAIN}.env.0", ...))
    assert differs(wanted, live) == f".metadata.annotations.{APPLIED}"


def test_a_stamp_is_the_same_for_the_same_wish_and_leaves_the_wish_alone() -> None:
    before = copy.deepcopy(DEPLOYMENT)
    reordered = dict(reversed(DEPLOYMENT.items()))
    assert stamped(DEPLOYMENT)["metadata"] == stamped(reordered)["metadata"]
    assert before == DEPLOYMENT
    assert differs(stamped(DEPLOYMENT), None) == "(missing)"


@pytest.mark.parametrize(
    ("written", "answered"),
    [
        ("1024Ti", "1Pi"),
        ("1000T", "1P"),
        ("0.0001", "100u"),
        ("1.5Gi", "1536Mi"),
        ("1000m", "1"),
        ("1000", "1k"),
        ("0.5", "500m"),
        ("3000000", "3M"),
        ("12", "12e0"),
        ("2000000", "2e6"),
    ],
)
def test_an_api_server_may_write_an_amount_otherwise(written: str, answered: str) -> None:
    """resource.Quantity answers in its canonical form."""
    wanted = {"metadata": {}, "spec": {"resources": {"requests": {"storage": written}}}}
    assert differs(wanted, put(wanted, "spec.resources.requests.storage", answered)) == ""


_KEYS = st.sampled_from(["a", "b", "c", "requests", "name"])
_SCALARS = st.one_of(st.text("xyz", min_size=1, max_size=3), st.integers(1, 9), st.just(True))
_WANTED = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.dictionaries(_KEYS, inner, min_size=1, max_size=3),
        st.lists(_SCALARS, min_size=1, max_size=3),
        st.lists(st.tuples(st.sampled_from("pqrs"), inner), min_size=1, max_size=3, unique_by=lambda i: i[0]).map(
            lambda items: [{"name": name, "value": value} for name, value in items]
        ),
    ),
    max_leaves=12,
)


def grown(wanted: Any, draw: st.DataObject) -> Any:
    """With additions wherever an API server or a neighbour may put one."""
    if isinstance(wanted, dict):
        new = {key: grown(value, draw) for key, value in wanted.items()}
        return {**new, **({"theirs": draw.draw(_SCALARS)} if draw.draw(st.booleans()) else {})}
    if isinstance(wanted, list) and wanted and all(isinstance(item, dict) for item in wanted):
        items = [grown(item, draw) for item in wanted]
        if draw.draw(st.booleans()):
            items.insert(draw.draw(st.integers(0, len(items))), {"name": "theirs", "value": 1})
        return items
    return wanted


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, inner in enumerate(value) for leaf in leaves(inner, (*path, index))]
    return [path]


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(wanted=st.dictionaries(_KEYS, _WANTED, min_size=1, max_size=3), data=st.data())
def test_additions_are_never_a_difference_and_changes_always_are(wanted: dict[str, Any], data: st.DataObject) -> None:
    live = grown(copy.deepcopy(wanted), data)
    assert differs(wanted, live) == ""
    path = data.draw(st.sampled_from(leaves(wanted)))
    changed = copy.deepcopy(wanted)
    here: Any = changed
    for part in path[:-1]:
        here = here[part]
    here[path[-1]] = f"{here[path[-1]]}-changed"
    assert differs(changed, live) != ""
