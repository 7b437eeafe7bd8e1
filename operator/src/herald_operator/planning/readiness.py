"""Is a component there, and if not: what is it waiting for, and what can a person do? Pure.

The message names the pod's own trouble and the command that shows more. It holds no times and no counts that grow:
a message that changes by itself would be a write at rest.
"""

from dataclasses import dataclass

from herald_operator.build.naming import Object
from herald_operator.planning.observed import Observed

# Reasons of a waiting container that pass by themselves.
_ON_ITS_WAY = frozenset({"ContainerCreating", "PodInitializing", ""})
_BAD_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})


@dataclass(frozen=True, slots=True)
class Readiness:
    """`ready`, or else why not. `trouble`: it will not become ready by itself."""

    ready: bool
    message: str = ""
    trouble: bool = False


def workload(seen: Observed, kind: str, name: str, wanted: int, starting: str) -> Readiness:
    """Of a Deployment, StatefulSet or ReplicaSet that should have `wanted` pods; `starting` says what a start is."""
    body = seen.child(kind, name)
    if body is None:
        return Readiness(False, "is being created")
    status, spec = body.get("status") or {}, body["spec"]
    observed = int(status.get("observedGeneration") or 0) >= int(body["metadata"].get("generation") or 0)
    count = int(status.get("availableReplicas") or 0)
    if kind == "StatefulSet" and "availableReplicas" not in status:
        count = int(status.get("readyReplicas") or 0)
    updated = int(status.get("updatedReplicas", count) or 0) if kind == "Deployment" else count
    if observed and count >= wanted and updated >= wanted:
        return Readiness(True)
    pods = seen.pods_with(spec["selector"]["matchLabels"])
    said = trouble(pods, seen.resource["metadata"]["namespace"]) or _not_created(body)
    if said:
        return Readiness(False, said, trouble=True)
    return Readiness(False, _stage(pods, starting))


def job(seen: Observed, name: str) -> Readiness:
    """Of the migration."""
    body = seen.child("Job", name)
    if body is None:
        return Readiness(False, "waits for the database")
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") == "Complete":
            return Readiness(True)
        if condition.get("status") == "True" and condition.get("type") == "Failed":
            namespace = seen.resource["metadata"]["namespace"]
            said = f"failed ({condition.get('reason', 'unknown')}); see `kubectl -n {namespace} logs job/{name}`"
            return Readiness(False, said, trouble=True)
    pods = seen.pods_with({"job-name": name})
    said = trouble(pods, seen.resource["metadata"]["namespace"])
    return Readiness(False, said or "is bringing the database up to date", trouble=bool(said))


def trouble(pods: tuple[Object, ...], namespace: str) -> str:
    """The first thing that keeps one of the pods from starting, "" when nothing does."""
    for pod in sorted(pods, key=lambda p: str(p["metadata"]["name"])):
        said = _pod_trouble(pod, namespace)
        if said:
            return said
    return ""


def _stage(pods: tuple[Object, ...], starting: str) -> str:
    """How far the pod is that is furthest behind."""
    if not pods:
        return "is waiting for its pods"
    for pod in pods:
        status = pod.get("status") or {}
        running = [c for c in status.get("containerStatuses") or () if "running" in (c.get("state") or {})]
        if not running and status.get("phase", "Pending") == "Pending":
            return "is waiting for a node, its image and its volumes"
    return starting


def _pod_trouble(pod: Object, namespace: str) -> str:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return f"no node can take the pod {name}: {_first_line(condition.get('message'))}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in _BAD_IMAGE:
            return f"the image {container.get('image')} cannot be pulled ({reason}): check spec.images and its registry"
        if reason == "CrashLoopBackOff":
            ended = (container.get("lastState") or {}).get("terminated") or {}
            code = ended.get("exitCode", "?")
            return f"the pod {name} keeps ending with exit code {code}; see `kubectl -n {namespace} logs {name} -p`"
        if reason not in _ON_ITS_WAY:
            return f"the pod {name} cannot start ({reason}): {_first_line(waiting.get('message'))}"
    if status.get("phase") == "Failed":
        reason = status.get("reason") or "failed"
        return f"the pod {name} was ended ({reason}); see `kubectl -n {namespace} describe pod {name}`"
    return ""


def _not_created(body: Object) -> str:
    """What keeps the controller from creating pods: quota, admission."""
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return f"its pods are refused: {_first_line(condition.get('message'))}"
    return ""


def _first_line(text: object) -> str:
    return str(text or "no reason given").splitlines()[0][:300]
