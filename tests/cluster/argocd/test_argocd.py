"""Argo CD delivers Herald, and neither of them ever undoes what the other did.

The tests are one story, in this order: each begins where the one before it left everything healthy.
"""

import asyncio
import time
from pathlib import Path

import pytest
from tools.cluster import Cluster

from tests.cluster.argocd.applications import resources
from tests.cluster.argocd.conftest import EVERYTHING, NAMESPACES, Delivered
from tests.cluster.argocd.servers import NAMESPACE
from tests.cluster.operator.api import Api, Object, Refused
from tests.cluster.operator.places import Place, conditions_of
from tests.waiting import eventually

pytestmark = [pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="package")]

WINDOW = 45.0  # seconds for which nothing may happen; Argo CD looks every 10 by itself
TRACKED_BY = "app.kubernetes.io/instance"  # by older Argo CDs, and newer ones that are told so
OPENS = "support-postgres"  # the Secret with the password of what is on a volume
ABSENT = "registry.example.com/absent"
_GATEWAY = ("Deployment", "support-gateway")

# Stands for a registry that does not have an image: pods on a node that only claims to run them never lack one.
_NO_SUCH_IMAGE = f"""
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: absent}}
spec:
  matchConstraints:
    resourceRules: [{{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]
  validations:
    - expression: object.spec.containers.all(c, !c.image.startsWith('{ABSENT}'))
      message: there is no such image
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: absent}}
spec: {{policyName: absent, validationActions: [Deny]}}
"""


async def test_each_part_waits_for_the_one_before(delivered: Delivered) -> None:
    diary = delivered.diary
    assert diary.first("herald-crds", "Healthy") < diary.first("herald")
    assert diary.first("herald", "Healthy") < min(diary.first(name) for name in NAMESPACES)
    for name in NAMESPACES:
        seen = [health for health in diary.healths(name) if health != "Missing"]
        assert seen[-2:] == ["Progressing", "Healthy"], seen
        assert "Degraded" not in seen
        assert {moment.syncs for moment in diary.of(name)} <= {0, 1}


async def test_only_what_is_in_git_is_argo_cds(delivered: Delivered) -> None:
    for name, place in delivered.places.items():
        body = await delivered.applications.get(name)
        assert {kind for kind, _ in resources(body)} == {"AgentDeployment", "ConfigMap"}
        children = await place.children()
        assert {"StatefulSet", "Deployment", "ReplicaSet", "Secret", "HorizontalPodAutoscaler"} <= {
            k for k, _ in children
        }
        for child in (*children.values(), *await place.api.list("PersistentVolumeClaim", place.namespace)):
            assert "argocd.argoproj.io/tracking-id" not in (child["metadata"].get("annotations") or {})


async def test_it_stays_synced_whatever_the_operator_does(delivered: Delivered) -> None:
    """A measured window: hard refreshes and self-heal find no difference, in none of Argo CD's three ways to look."""
    applications, places = delivered.applications, delivered.places
    before = {name: await place.resource() for name, place in places.items()}
    kept = {name: await place.children() for name, place in places.items()}
    async with applications.followed() as diary:
        began = time.monotonic()
        for name, place in places.items():
            crew = f"support-{before[name]['status']['activeRevision']}"
            await place.api.scale(*_GATEWAY[:1], place.namespace, _GATEWAY[1], 4)
            await place.api.scale("ReplicaSet", place.namespace, crew, 5)
            await place.annotate(restart="once", promote="yes")
            await place.api.delete("Pod", place.namespace, (await place.pods("postgres"))[0]["metadata"]["name"])
        for place in places.values():
            await place.until(lambda r: "herald.dev/promote" not in r["metadata"]["annotations"], what="obeyed")
            await place.until(lambda r: r["status"]["replicas"] == 5, what="five workers")
        looks = 0
        while looks < 3 or time.monotonic() - began < WINDOW:
            await asyncio.gather(*(applications.refresh(name, hard=True) for name in EVERYTHING))
            looks += 1
        for name in EVERYTHING:
            await applications.becomes(name, "Healthy")
    for name in EVERYTHING:
        assert len(diary.of(name)) > looks
        assert {moment.sync for moment in diary.of(name)} == {"Synced"}
        assert len({(moment.operation, moment.syncs) for moment in diary.of(name)}) == 1, "nothing was applied"
        assert "Degraded" not in diary.healths(name)
    for name, place in places.items():
        after = await place.resource()
        assert after["metadata"]["generation"] == before[name]["metadata"]["generation"], "nobody wrote the spec"
        assert _written(after, "argocd-controller") == _written(before[name], "argocd-controller")
        assert await _replicas(place, _GATEWAY) == 4, "what an autoscaler said stands"
        assert _identities(await place.children()) >= _identities(kept[name])


async def test_a_reference_to_nothing_is_degraded_until_git_is_mended(delivered: Delivered) -> None:
    repository, applications, place = delivered.repository, delivered.applications, delivered.agents
    before = await place.resource()
    good = repository.read("teams/agents/team.yaml")["spec"]["channels"]
    bad = [good[0], {"name": "hooks", "hmac": {**good[1]["hmac"], "secretRef": {"name": "nowhere"}}}]
    commit = repository.change("teams/agents", "A Secret that is not there", channels=bad)
    await applications.becomes("agents", "Degraded", commit)
    said = conditions_of(await place.resource())["Accepted"]
    assert (said["status"], said["reason"]) == ("False", "ReferenceMissing")
    assert "create secret generic nowhere" in said["message"]
    assert (await place.status())["activeRevision"] == before["status"]["activeRevision"]
    assert len(await place.pods("gateway")) >= 2
    commit = repository.change("teams/agents", "Back to the Secret that is there", channels=good)
    await applications.becomes("agents", "Healthy", commit)


async def test_an_image_that_never_runs_is_degraded_and_the_old_revision_answers(
    delivered: Delivered, cluster: Cluster
) -> None:
    repository, applications, place = delivered.repository, delivered.applications, delivered.agents
    old = (await place.status())["activeRevision"]
    cluster.kubectl("apply", "-f", "-", stdin=_NO_SUCH_IMAGE)
    await _refused(place)
    async with applications.followed() as diary:
        commit = repository.change(
            "teams/agents",
            "An image that nobody has",
            images={"agent": f"{ABSENT}:1"},
            rollout__progressDeadlineSeconds=10,
        )
        await applications.becomes("agents", "Degraded", commit)
    assert "Progressing" in diary.healths("agents")
    body = await place.resource()
    said = conditions_of(body)
    assert (said["Promoted"]["status"], said["Promoted"]["reason"]) == ("False", "RevisionFailed")
    assert said["Ready"]["status"] == "True"
    assert body["status"]["activeRevision"] == old
    commit = repository.change("teams/agents", "The image that works", images=None)
    await applications.becomes("agents", "Healthy", commit)
    assert (await place.status())["activeRevision"] == old


async def test_a_rollback_by_hand_is_degraded_and_synced_until_the_next_commit(delivered: Delivered) -> None:
    repository, applications, place = delivered.repository, delivered.applications, delivered.agents
    old = (await place.status())["activeRevision"]
    repository.write("manifests/kustomize/base/instructions.md", "You answer questions about printers.\n")
    commit = repository.commit("Other instructions")
    await applications.becomes("agents", "Healthy", commit)
    new = (await place.settled())["status"]["activeRevision"]
    assert new != old
    texts = [kind for kind, name in resources(await applications.get("agents")) if name.startswith("support-instr")]
    assert texts == ["ConfigMap"], "the old text left git, and the cluster"

    async with applications.followed() as diary:
        generation = (await place.annotate(rollback_to=old))["metadata"]["generation"]
        await applications.becomes("agents", "Degraded")
        await place.until(lambda r: r["status"]["activeRevision"] == old, what="rolled back")
        for _ in range(3):
            await applications.refresh("agents", hard=True)
        await applications.becomes("agents", "Degraded")
    after = await place.resource()
    assert after["metadata"]["generation"] == generation
    assert "herald.dev/rollback-to" not in after["metadata"]["annotations"]
    assert {moment.sync for moment in diary.of("agents")} == {"Synced"}
    assert len({(moment.operation, moment.syncs) for moment in diary.of("agents")}) == 1, "no loop: nothing was applied"
    assert conditions_of(after)["Ready"]["status"] == "True"

    repository.write("manifests/kustomize/base/instructions.md", "You answer questions about printers and paper.\n")
    commit = repository.commit("Instructions that are better")
    await applications.becomes("agents", "Healthy", commit)
    assert (await place.settled())["status"]["activeRevision"] not in (old, new)


async def test_an_application_that_is_deleted_takes_its_agents_along(delivered: Delivered, api: Api) -> None:
    applications, place = delivered.applications, delivered.agents
    kept = await _data(place)
    # Not the whole of it: what is left would be brought back.
    await api.delete("Application", NAMESPACE, "herald-all")
    finalizers = {"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}}
    await api.merge("Application", NAMESPACE, "agents", finalizers)
    await api.delete("Application", NAMESPACE, "agents")
    await applications.gone("agents")
    assert await place.find("AgentDeployment", "support") is None

    async def empty() -> bool:
        return {kind for kind, _ in await place.children()} == {"PersistentVolumeClaim", "Secret"}

    await eventually(empty, within=60, what="its children are gone, but for the data")
    assert await place.pods("agent") == []
    assert await _data(place) == kept


async def test_what_is_kept_is_nobodys_to_prune(delivered: Delivered, api: Api) -> None:
    """Under tracking by label too, as Argo CD did it until its third version, with an Application of the same name."""
    repository, applications, place = delivered.repository, delivered.applications, delivered.places["agents-merged"]
    tracking = {"data": {"application.resourceTrackingMethod": "label"}}
    await api.merge("ConfigMap", NAMESPACE, "argocd-cm", tracking)
    await api.delete("Application", NAMESPACE, "agents-merged")
    await applications.gone("agents-merged")
    assert (await place.status())["phase"] == "Ready", "without the finalizer it leaves its agents running"
    application = repository.read("manifests/argocd/applications/4-agents-merged.yaml")
    application["metadata"]["name"] = "support"
    await api.create(application)
    await place.until(lambda r: (r["metadata"].get("labels") or {}).get(TRACKED_BY) == "support", what="labelled")
    await applications.refresh("support", hard=True)
    body = await applications.becomes("support", "Healthy")
    assert {kind for kind, _ in resources(body)} == {"AgentDeployment", "ConfigMap"}

    kept = await _data(place)
    assert {kind for kind, _, _ in kept} == {"PersistentVolumeClaim", "Secret"}
    team = Path("teams/agents-merged")
    repository.write(f"{team}/kustomization.yaml", {**repository.read(f"{team}/kustomization.yaml"), "patches": [
        {"patch": "$patch: delete\napiVersion: herald.dev/v1alpha1\nkind: AgentDeployment\nmetadata: {name: support}\n"}
    ]})  # fmt: skip
    commit = repository.commit("This team has no agents any more")
    await applications.refresh("support")
    await place.gone()
    for _ in range(3):
        await applications.refresh("support", hard=True)
    body = await applications.becomes("support", "Healthy", commit)
    assert {kind for kind, _ in resources(body)} == {"ConfigMap"}
    assert await _data(place) == kept


async def _refused(place: Place) -> None:
    """Once the policy is in force: the API server takes a moment to learn of it."""
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": f"{ABSENT}:1"}]},
    }

    async def look() -> bool:
        try:
            await place.api.create(pod)
        except Refused as e:
            return "no such image" in str(e)
        await place.api.delete("Pod", "default", "probe")
        return False

    await eventually(look, what="pods with that image are refused")


async def _replicas(place: Place, key: tuple[str, str]) -> int:
    return int((await place.get(*key))["spec"]["replicas"])


async def _data(place: Place) -> set[tuple[str, str, str]]:
    """Volumes, and the Secret that opens them: kind, name and uid."""
    children = _identities(await place.children())
    return {child for child in children if child[0] == "PersistentVolumeClaim" or child[:2] == ("Secret", OPENS)}


def _identities(children: dict[tuple[str, str], Object]) -> set[tuple[str, str, str]]:
    return {(*key, str(body["metadata"]["uid"])) for key, body in children.items()}


def _written(body: Object, manager: str) -> list[str]:
    """When this manager wrote the last time."""
    return sorted(str(f.get("time")) for f in body["metadata"]["managedFields"] if f["manager"] == manager)
