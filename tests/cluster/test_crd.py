"""The CRD on a real API server: what it takes, refuses, fills in, prints and explains."""

import json
from typing import Any

import pytest
import yaml
from tools.cluster import Cluster, Trouble
from tools.gen import crd

from tests.cluster.deployments import Deployments, Refused
from tests.resource_cases import CASES, Case
from tests.resource_documents import EXTERNAL, FAILOVER, MANAGED, SMALLEST, STATUS, changed
from tests.resource_limits import limits
from tests.waiting import eventually_sync

SCHEMA: dict[str, Any] = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SAYS = {
    "maximum": "should be less than or equal to",
    "minimum": "should be greater than",
    "maxLength": "may not be more than",
    "minLength": "should be at least",
    "maxItems": "must have at most",
    "minItems": "should have at least",
    "maxProperties": "must have at most",
    "enum": "Unsupported value",
    "pattern": "should match",
    "required": "Required value",
    "format": "must be of type date-time",
}


def test_it_is_established_without_complaint(kubernetes: Cluster, deployments: Deployments) -> None:
    shown = kubernetes.kubectl("get", "crd", crd.NAME, "-o", "json")
    conditions = {c["type"]: c["status"] for c in json.loads(shown)["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_api_server_judges_as_the_table_says(deployments: Deployments, case: Case) -> None:
    said = deployments.refusal(case.document)
    assert case.refused in said
    assert bool(case.refused) == bool(said), said


@pytest.mark.parametrize("document", [MANAGED, EXTERNAL, FAILOVER], ids=["managed", "external", "failover"])
def test_every_limit_holds(deployments: Deployments, document: dict[str, Any]) -> None:
    assert deployments.refusal(document) == ""
    wrong = []
    for limit in limits(SCHEMA, document, "spec"):
        said = deployments.refusal(limit.document)
        if limit.broken != bool(said) or (said and (limit.field not in said or SAYS[limit.keyword] not in said)):
            wrong.append(f"{limit}: {said or 'accepted'}")
    assert wrong == []


def test_every_limit_of_the_status_holds(deployments: Deployments) -> None:
    wrong = []
    with deployments.existing(SMALLEST):
        assert deployments.refusal_of_status("support", STATUS) == ""
        for limit in limits(SCHEMA, {"status": STATUS}, "status"):
            said = deployments.refusal_of_status("support", limit.document["status"])
            if limit.broken != bool(said) or (said and (limit.field not in said or SAYS[limit.keyword] not in said)):
                wrong.append(f"{limit}: {said or 'accepted'}")
    assert wrong == []


def test_defaults_of_scalars_appear_and_nothing_else(deployments: Deployments) -> None:
    spec = deployments.create(SMALLEST, dry_run="All")["spec"]
    assert spec == {
        **SMALLEST["spec"],
        "deletionPolicy": "Retain",
        "suspend": False,
        "paused": False,
        "logLevel": "info",
        "inference": {
            "model": "scripted",
            "backend": "triton",
            "engine": "cpu",
            "replicas": 1,
            "maxBatchSize": 32,
            "maxTokens": 256,
            "maxInputTokens": 3072,
            "temperature": 0.2,
        },
    }


def test_defaults_follow_their_parent(deployments: Deployments) -> None:
    document = changed(SMALLEST, {"spec.gateway": {"autoscaling": {"max": 5}}, "spec.messaging.nats.managed": {}})
    spec = deployments.create(document, dry_run="All")["spec"]
    assert spec["gateway"] == {"autoscaling": {"min": 2, "max": 5, "cpuPercent": 70}}
    assert spec["messaging"] == {"nats": {"managed": {"replicas": 1}}}


@pytest.mark.parametrize(
    "document", [SMALLEST, MANAGED, EXTERNAL, FAILOVER], ids=["smallest", "managed", "external", "failover"]
)
def test_what_git_holds_is_what_is_there(deployments: Deployments, document: dict[str, Any]) -> None:
    """Argo CD merges Git's object into the live one and looks for a difference: defaults must make none."""
    live = deployments.create(document, dry_run="All")["spec"]
    assert _merged(live, document["spec"]) == live


def _merged(live: Any, wanted: Any) -> Any:
    """JSON merge patch, RFC 7386: a list is one value."""
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return wanted
    return live | {name: _merged(live.get(name), value) for name, value in wanted.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {"spec.local": {"port": 8080}},
        {"spec.channels.0.web": {"titel": "x"}},
        {"spec.security": {}},
        {"sepc": {}},
    ],
    ids=lambda c: next(iter(c)),
)
def test_an_unknown_field_is_refused_when_asked_to_and_never_kept(
    deployments: Deployments, changes: dict[str, Any]
) -> None:
    document = changed(SMALLEST, changes)
    assert "unknown field" in deployments.refusal(document)
    kept = deployments.create(document, strict=False, dry_run="All")
    without = deployments.create(SMALLEST, dry_run="All")
    assert (kept["spec"], kept.keys()) == (without["spec"], without.keys())


def test_kubectl_refuses_an_unknown_field_by_itself(kubernetes: Cluster, deployments: Deployments) -> None:
    text = yaml.safe_dump(changed(SMALLEST, {"spec.agent": {"replica": 2}}))
    with pytest.raises(Trouble, match=r'unknown field \\?"spec.agent.replica'):
        kubernetes.kubectl("create", "-f", "-", stdin=text)


def test_status_and_spec_are_written_apart(deployments: Deployments) -> None:
    with deployments.existing(SMALLEST | {"status": {"phase": "Ready"}}) as created:
        assert "status" not in created
        after = deployments.patch("support", {"status": STATUS, "spec": {"suspend": True}}, subresource="status")
        assert after["status"] == STATUS
        assert after["spec"]["suspend"] is False
        assert after["metadata"]["generation"] == 1
        after = deployments.patch("support", {"spec": {"suspend": True}, "status": {"phase": "Other"}})
        assert after["status"] == STATUS
        assert after["metadata"]["generation"] == 2


def test_it_is_scaled_by_its_workers(kubernetes: Cluster, deployments: Deployments) -> None:
    with deployments.existing(SMALLEST):
        deployments.patch("support", {"status": STATUS}, subresource="status")
        kubernetes.kubectl("scale", "agd/support", "--replicas=5")
        assert deployments.get("support")["spec"]["agent"]["replicas"] == 5
        scale = deployments.scale("support")
        assert scale["spec"] == {"replicas": 5}
        assert scale["status"] == {"replicas": 2, "selector": "app.kubernetes.io/component=agent"}
        with pytest.raises(Trouble, match="should be less than or equal to 32"):
            kubernetes.kubectl("scale", "agd/support", "--replicas=33")


def test_an_autoscaler_of_ones_own_needs_a_number_to_begin_with(kubernetes: Cluster, deployments: Deployments) -> None:
    """As docs/kubernetes.md says: an API server reads the scale of a field that is written, not of one left out."""
    with deployments.existing(SMALLEST):
        with pytest.raises(Refused, match=r'the spec replicas field "?\.spec\.agent\.replicas"? does not exist'):
            deployments.scale("support")
        kubernetes.kubectl("scale", "agd/support", "--replicas=3")
        assert deployments.scale("support")["spec"] == {"replicas": 3}


def test_what_scales_itself_is_not_scaled_by_hand(kubernetes: Cluster, deployments: Deployments) -> None:
    document = changed(SMALLEST, {"spec.agent": {"autoscaling": {"max": 5}}})
    with (
        deployments.existing(document),
        pytest.raises(Trouble, match="either replicas or autoscaling, not both"),
    ):
        kubernetes.kubectl("scale", "agd/support", "--replicas=5")


def test_columns(deployments: Deployments) -> None:
    with deployments.existing(SMALLEST):
        deployments.patch("support", {"status": STATUS | {"channelNames": "web, hooks"}}, subresource="status")
        table = deployments.table()
    row = dict(zip([c["name"] for c in table["columnDefinitions"]], table["rows"][0]["cells"], strict=True))
    assert row.pop("Age")
    assert row == {
        "Name": "support",
        "Phase": "Ready",
        "Ready": "True",
        "Active": "5d8f7c9b",
        "Candidate": "7f6b5c4d",
        "Model": "scripted",
        "Status": "messages are answered",
        "Channels": "web, hooks",
        "Reason": "AllReady",
    }
    assert [c["name"] for c in table["columnDefinitions"] if c["priority"]] == ["Channels", "Reason"]


def test_columns_of_what_nobody_has_looked_at_yet(deployments: Deployments) -> None:
    with deployments.existing(SMALLEST):
        [row] = deployments.table()["rows"]
    assert row["cells"][:2] == ["support", None]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("agd", "An agent in a team's chat"),
        ("agd.spec.inference.gpu", "tensor parallelism"),
        ("agd.spec.inference", "Default: 256."),
        ("agd.spec.channels.hmac", "Anything that can sign"),
        ("agd.status.conditions", "with the next step"),
    ],
)
def test_kubectl_explains(kubernetes: Cluster, deployments: Deployments, field: str, words: str) -> None:
    assert words in " ".join(kubernetes.kubectl("explain", field).split())


def test_kubectl_knows_its_short_name_and_categories(kubernetes: Cluster, deployments: Deployments) -> None:
    with deployments.existing(SMALLEST):
        for kind in ("agd", "agentdeployment", "herald", "all"):
            assert "agentdeployment.herald.dev/support" in kubernetes.kubectl("get", kind, "-o", "name")


def test_what_was_valid_once_may_stay(kubernetes: Cluster, deployments: Deployments) -> None:
    """Ratcheting: a limit that comes later is asked of what changes, and not of what is left alone."""
    looser = crd.definition()
    spec = looser["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["inference"]["properties"]["maxTokens"]["maximum"] = 1_000_000
    spec["gateway"].pop("x-kubernetes-validations")
    document = changed(SMALLEST, {"spec.inference.maxTokens": 9_000, "spec.gateway": {"route": {"ingress": {}}}})
    assert "spec.inference.maxTokens" in deployments.refusal(document)
    _install(kubernetes, looser, deployments, until_taken=document)
    try:
        with deployments.existing(document):
            _install(
                kubernetes, crd.definition(), deployments, until_refused=document | {"metadata": {"name": "other"}}
            )
            assert deployments.patch("support", {"spec": {"suspend": True}})["spec"]["suspend"] is True
            with pytest.raises(Refused, match=r"spec\.inference\.maxTokens"):
                deployments.patch("support", {"spec": {"inference": {"maxTokens": 9_001}}})
            with pytest.raises(Refused, match="route needs host"):
                deployments.patch("support", {"spec": {"gateway": {"replicas": 3}}})
            deployments.patch("support", {"spec": {"gateway": {"host": "a.example"}, "inference": {"maxTokens": 9}}})
    finally:
        _install(kubernetes, crd.definition(), deployments, until_refused=document)


def _install(
    cluster: Cluster,
    definition: dict[str, Any],
    deployments: Deployments,
    *,
    until_taken: dict[str, Any] | None = None,
    until_refused: dict[str, Any] | None = None,
) -> None:
    """Replace the CRD, and wait until the API server judges by it."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(definition))
    probe = until_taken or until_refused or SMALLEST
    eventually_sync(lambda: (deployments.refusal(probe) == "") == (until_taken is not None), what="the new CRD rules")
