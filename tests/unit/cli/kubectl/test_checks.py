"""What `kubectl herald doctor` concludes from what it sees."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from herald_cli.diagnosis import Finding, Trouble
from herald_cli.kubectl import cluster_checks, deployment_checks
from tests.unit.cli.kubectl.test_pods import pod

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CRD = yaml.safe_load((Path(__file__).parents[4] / "crds" / "herald.dev_agentdeployments.yaml").read_text())


def lease(seconds_ago: float, holder: str = "operator-1") -> dict[str, Any]:
    renewed = (NOW - timedelta(seconds=seconds_ago)).isoformat()
    return {
        "metadata": {"namespace": "herald-system"},
        "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15},
    }


def test_a_fresh_lease_is_an_operator_that_leads() -> None:
    seen = cluster_checks.judge([lease(3_000, "old"), lease(3)], "; 1 pods of x", NOW)
    assert seen == "operator-1 leads in namespace herald-system, renewed 3 s ago; 1 pods of x"


@pytest.mark.parametrize(
    ("leases", "text"),
    [
        ([], "no operator has ever led here"),
        ([lease(60)], "the last was operator-1, 60 s ago"),
        ([lease(1, "")], "the last was nobody"),
        ([{"metadata": {"namespace": "x"}, "spec": {}}], "no operator has ever led"),
    ],
)
def test_without_a_fresh_lease_no_operator_leads(leases: list[Any], text: str) -> None:
    with pytest.raises(Trouble, match=text):
        cluster_checks.judge(leases, "", NOW)


def test_the_crd_of_this_repository_misses_no_field() -> None:
    assert cluster_checks.missing_fields(CRD) == []


def test_an_older_crd_misses_the_field_that_came_later() -> None:
    spec = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    older = {name: value for name, value in spec.items() if name != "logLevel"}
    crd = {
        "spec": {
            "versions": [
                {
                    "name": "v1alpha1",
                    "schema": {"openAPIV3Schema": {"properties": {"spec": {"properties": older}}}},
                }
            ]
        }
    }
    assert cluster_checks.missing_fields(crd) == ["logLevel"]


def test_pods_that_are_ready() -> None:
    done = pod("m") | {"status": {"phase": "Succeeded"}}
    assert deployment_checks.judge_pods([pod("a-1"), done], "acme") == "1 are ready"


def test_a_pod_that_cannot_start_is_said_with_the_command_that_shows_more() -> None:
    broken = pod("support-gateway-1-x", ready=False)
    broken["status"]["containerStatuses"] = [
        {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 78}}}
    ]
    with pytest.raises(Trouble, match=r"exit code 78.*kubectl -n acme logs support-gateway-1-x -p"):
        deployment_checks.judge_pods([pod("a-1"), broken], "acme")


def test_pods_that_start_or_begin_anew_again_and_again_are_warnings() -> None:
    starting = deployment_checks.judge_pods([pod("support-v1-x", ready=False)], "acme")
    assert isinstance(starting, Finding)
    assert (starting.verdict, starting.seen) == ("warning", "not ready: agent-x")
    often = pod("support-v1-y")
    often["status"]["containerStatuses"][0]["restartCount"] = 9
    found = deployment_checks.judge_pods([often], "acme")
    assert isinstance(found, Finding)
    assert (found.seen, found.next) == ("agent-y began 9 times anew", "`kubectl -n acme logs -p support-v1-y`")


def test_no_pods_is_trouble() -> None:
    with pytest.raises(Trouble, match="there are none"):
        deployment_checks.judge_pods([], "acme")


def test_a_claim_without_a_volume_names_its_storage_class() -> None:
    claim = {"metadata": {"name": "data-support-nats-0"}, "spec": {}, "status": {"phase": "Pending"}}
    with pytest.raises(Trouble, match=r"data-support-nats-0 is Pending .*no default"):
        deployment_checks.judge_volumes([claim], "acme")
    claim["status"] = {"phase": "Bound"}
    assert deployment_checks.judge_volumes([claim], "acme") == "1 claims are bound"
