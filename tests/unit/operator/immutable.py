"""What an API server never changes in an object that is there: it refuses the whole apply."""

from collections.abc import Mapping
from typing import Any

from herald_operator.build.naming import Object

# Kubernetes 1.34, pkg/apis/*/validation: of a spec all but these may not change ...
_MAY_CHANGE: Mapping[str, frozenset[str]] = {
    "StatefulSet": frozenset(
        {
            "replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds", "revisionHistoryLimit",
        }
    ),
    "Job": frozenset({"parallelism", "suspend", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"}),
    "PersistentVolumeClaim": frozenset({"volumeAttributesClassName"}),
}  # fmt: skip
# ... and of these nothing but what is named.
_NEVER_CHANGES: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("selector",),
    "ReplicaSet": ("selector",),
    "Service": ("clusterIP",),
}


def refusal(wanted: Object, live: Object | None) -> str:
    """The path of the first part that an API server would refuse to change, "" where it takes all."""
    if live is None:
        return ""
    kind = wanted["kind"]
    if kind == "ControllerRevision":
        return "" if wanted["data"] == live["data"] else ".data"
    is_, was = wanted.get("spec") or {}, live.get("spec") or {}
    allowed = _MAY_CHANGE.get(kind)
    looked_at = sorted({*is_, *was} - allowed) if allowed is not None else _NEVER_CHANGES.get(kind, ())
    return next((f".spec.{part}" for part in looked_at if _part(is_, part) != _part(was, part)), "")


def _part(spec: Mapping[str, Any], name: str) -> Any:
    return spec.get(name)
