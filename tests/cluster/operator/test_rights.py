"""What the chart's account may and may not do, asked of the API server: every other test here runs with it."""

import pytest

from tests.cluster.operator.api import Api
from tests.cluster.operator.operators import SYSTEM
from tests.cluster.operator.places import Place

pytestmark = pytest.mark.timeout(120)

_MAY = """
get list watch patch          herald.dev/agentdeployments
get patch                     herald.dev/agentdeployments/status
get create patch delete       /secrets
get list watch delete         /pods
get list watch create patch delete  apps/deployments apps/statefulsets apps/replicasets apps/controllerrevisions
get list watch create patch delete  batch/jobs /services /configmaps /serviceaccounts /persistentvolumeclaims
get list watch create patch delete  networking.k8s.io/networkpolicies networking.k8s.io/ingresses
get list watch create patch delete  policy/poddisruptionbudgets autoscaling/horizontalpodautoscalers
get list watch create patch delete  keda.sh/scaledobjects keda.sh/triggerauthentications
get list watch create patch delete  gateway.networking.k8s.io/httproutes monitoring.coreos.com/podmonitors
get list watch create patch   postgresql.cnpg.io/clusters
patch                         apps/deployments/scale apps/replicasets/scale
create                        events.k8s.io/events
"""
_MUST_NOT = """
list watch deletecollection   /secrets
update delete deletecollection  postgresql.cnpg.io/clusters
create update patch           /pods
create get                    /pods/exec /pods/attach /pods/portforward /pods/eviction /pods/ephemeralcontainers
create update delete          herald.dev/agentdeployments
update                        herald.dev/agentdeployments/status
create update patch delete bind escalate  rbac.authorization.k8s.io/roles rbac.authorization.k8s.io/rolebindings
create update patch delete bind escalate  rbac.authorization.k8s.io/clusterroles
create update patch delete    rbac.authorization.k8s.io/clusterrolebindings
create update patch delete    apiextensions.k8s.io/customresourcedefinitions
create update patch delete    /namespaces /nodes /persistentvolumes storage.k8s.io/storageclasses
create update patch delete    admissionregistration.k8s.io/validatingwebhookconfigurations
create                        /serviceaccounts/token certificates.k8s.io/certificatesigningrequests
impersonate                   /users /groups /serviceaccounts
get list                      /nodes /persistentvolumes
*                             */*
"""


def _table(text: str) -> list[tuple[str, str]]:
    made = []
    for line in filter(None, text.splitlines()):
        words = line.split()
        made += [(verb, what) for verb in words if "/" not in verb for what in words if "/" in what]
    return made


async def test_it_may_what_it_needs_in_every_namespace(api: Api, place: Place) -> None:
    refused = [f"{verb} {what}" for verb, what in _table(_MAY) if not await _allowed(api, place.namespace, verb, what)]
    assert refused == []


async def test_it_may_nothing_that_would_make_it_more(api: Api, place: Place) -> None:
    for namespace in (place.namespace, SYSTEM, "kube-system", ""):
        allowed = [f"{verb} {what}" for verb, what in _table(_MUST_NOT) if await _allowed(api, namespace, verb, what)]
        assert allowed == [], namespace


async def test_its_lease_is_the_only_one(api: Api, place: Place) -> None:
    lease = "coordination.k8s.io/leases"
    for verb in ("get", "update", "patch"):
        assert await _allowed(api, SYSTEM, verb, lease, "herald-operator")
        assert not await _allowed(api, SYSTEM, verb, lease, "somebody-else")
        assert not await _allowed(api, place.namespace, verb, lease, "herald-operator")
    assert not await _allowed(api, SYSTEM, "list", lease)
    assert not await _allowed(api, "kube-system", "create", lease)


async def _allowed(api: Api, namespace: str, verb: str, what: str, name: str = "") -> bool:
    """`what` is group/resource, or group/resource/subresource."""
    group, resource, *sub = what.split("/")
    asked = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "name": name}
    if sub:
        asked["subresource"] = sub[0]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": f"system:serviceaccount:{SYSTEM}:herald-operator", "resourceAttributes": asked},
    }
    answer = await api.create(review)
    return bool(answer["status"]["allowed"])
