"""The checks of `kubectl herald doctor` that are about the cluster and the user, and not about one deployment."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from herald_cli.diagnosis import Check, Finding, Trouble
from herald_cli.kubectl.api import Api, Forbidden, Object
from herald_contracts.resources.v1alpha1 import API_VERSION, GROUP, PLURAL, VERSION, Spec

LEASE = "herald-operator"
OPERATORS = "app.kubernetes.io/name=herald-operator"
_LATE = 5.0  # seconds that two machines' clocks may differ
# (verb, API group, resource, subresource, what needs it)
RIGHTS = (
    ("list", GROUP, PLURAL, "", "everything"),
    ("patch", GROUP, PLURAL, "", "rollout promote, abort, retry, undo, restart"),
    ("get", "apps", "deployments", "", "rollout restart"),
    ("list", "", "pods", "", "logs, ledger, doctor"),
    ("get", "", "pods", "log", "logs"),
    ("get", "", "pods", "exec", "ledger, dead-letters, send on signed channels"),
    ("create", "", "pods", "exec", "ledger, dead-letters, send on signed channels"),
    ("get", "", "services", "proxy", "send, doctor"),
    ("create", "", "services", "proxy", "send"),
    ("get", "", "secrets", "", "send on signed channels, doctor"),
    ("list", "", "persistentvolumeclaims", "", "doctor"),
)


def checks(api: Api) -> dict[str, tuple[Check, str]]:
    """What can be said without any deployment."""
    install = "`helm upgrade --install herald charts/herald -n herald-system --create-namespace`"
    return {
        "api server": (lambda: _server(api), "see `kubectl cluster-info`"),
        "kind": (lambda: _kind(api), "`helm upgrade --install herald-crds charts/herald-crds`"),
        "operator": (lambda: _operator(api), f"is it installed? {install}"),
        "your rights": (lambda: _rights(api), "see `kubectl auth can-i --list`"),
    }


async def _server(api: Api) -> str:
    found = await api.get("/version") or {}
    return f"Kubernetes {found.get('gitVersion', '?')} at {api.server}"


async def _kind(api: Api) -> str | Finding:
    """Whether AgentDeployments are served, with all the fields that this version of the command knows."""
    served = await api.get(f"/apis/{API_VERSION}")
    if served is None or not any(r.get("name") == PLURAL for r in served.get("resources") or ()):
        raise Trouble(f"the cluster serves no {PLURAL}.{GROUP}/{VERSION}")
    try:
        crd = await api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}")
    except Forbidden:
        return f"{PLURAL}.{GROUP}/{VERSION} is served; its schema is not yours to read"
    absent = missing_fields(crd or {})
    if absent:
        raise Trouble(f"the cluster's schema is older than herald {version('herald-cli')}: no spec.{absent[0]}")
    return f"{PLURAL}.{GROUP}/{VERSION} is served, with every field of herald {version('herald-cli')}"


def missing_fields(crd: Mapping[str, Any]) -> list[str]:
    """Fields of the spec that we know and the cluster's schema does not. Pure."""
    versions = (crd.get("spec") or {}).get("versions") or ()
    schema: Mapping[str, Any] = next((v.get("schema", {}) for v in versions if v.get("name") == VERSION), {})
    spec = schema.get("openAPIV3Schema", {}).get("properties", {}).get("spec", {}).get("properties", {})
    known = [
        field.alias or name
        for name, field in Spec.model_fields.items()
        if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("localOnly"))
    ]
    return [name for name in known if name not in spec]


async def _operator(api: Api) -> str | Finding:
    """By its Lease, which a leading operator renews every few seconds; else by its pods."""
    try:
        found = await api.listed("/apis/coordination.k8s.io/v1/leases", fieldSelector=f"metadata.name={LEASE}")
    except Forbidden:
        return Finding("operator", "warning", "its Lease is not yours to read", "ask whoever installed Herald")
    return judge(found, await _version(api), datetime.now(UTC))


def judge(leases: Sequence[Mapping[str, Any]], running: str, now: datetime) -> str:
    """Whether one of the operators leads. Raises Trouble. Pure."""
    said = []
    for lease in leases:
        spec, namespace = lease.get("spec") or {}, lease["metadata"]["namespace"]
        try:
            renewed = datetime.fromisoformat(str(spec.get("renewTime")))
        except ValueError:
            continue
        holder, age = str(spec.get("holderIdentity") or ""), (now - renewed).total_seconds()
        if holder and age <= float(spec.get("leaseDurationSeconds") or 0) + _LATE:
            return f"{holder} leads in namespace {namespace}, renewed {max(age, 0):.0f} s ago{running}"
        said.append((age, holder or "nobody", namespace))
    if not said:
        raise Trouble("no operator has ever led here")
    age, holder, namespace = min(said)
    raise Trouble(
        f"no operator leads; the last was {holder}, {age:.0f} s ago",
        f"`kubectl -n {namespace} get pods -l {OPERATORS}`, `kubectl -n {namespace} logs -l {OPERATORS}`",
    )


async def _version(api: Api) -> str:
    try:
        pods = await api.listed("/api/v1/pods", labelSelector=OPERATORS)
    except Forbidden:
        return ""
    images = sorted({str(c.get("image")) for p in pods for c in p["spec"]["containers"]})
    return f"; {len(pods)} pods of {', '.join(images)}" if images else ""


async def _rights(api: Api) -> str | Finding:
    """What of the commands the user may do in this namespace: the API server's own word."""
    allowed = await asyncio.gather(*(_may(api, *right[:4]) for right in RIGHTS))
    absent = [right for right, may in zip(RIGHTS, allowed, strict=True) if not may]
    if not absent:
        return f"enough for every command in namespace {api.namespace!r}"
    seen = "; ".join(f"{verb} {resource}{f'/{sub}' if sub else ''} ({why})" for verb, _, resource, sub, why in absent)
    return Finding(
        "your rights", "warning", f"not in namespace {api.namespace!r}: {seen}", "ClusterRole `edit` has all"
    )


async def _may(api: Api, verb: str, group: str, resource: str, subresource: str) -> bool:
    wanted: Object = {"namespace": api.namespace, "verb": verb, "group": group, "resource": resource}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**wanted, **({"subresource": subresource} if subresource else {})}},
    }
    answer = await api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    return bool((answer.get("status") or {}).get("allowed"))
