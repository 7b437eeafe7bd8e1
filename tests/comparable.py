"""What is alike in two deployments with one spec, whatever became of them before; and what may differ, and why.

A state is what was found: "Kind/name" -> object, and "status", "record" (active, candidate, stable) and "pods" beside
them. All that is not named here must be equal.
"""

from collections.abc import Collection, Mapping
from typing import Any

State = Mapping[str, Any]

# A change of the spec never removes these: they hold data, or the key to it.
_STAYS = ("Secret/", "PersistentVolumeClaim/")
# Counters of a resource's versions: two ways have two lengths.
_COUNTS = frozenset({"observedGeneration"})
_REVISION = "herald.dev/revision"


def comparable(state: State, other: State) -> dict[str, Any]:
    """The part of `state` that has to be the same in `other`, and in the same words."""
    active = state["record"][0] if state["record"] else ""
    made: dict[str, Any] = {}
    for key, body in state.items():
        if key.startswith(_STAYS) and key not in other:
            continue
        if key.startswith("ControllerRevision/"):
            # Others are kept to go back to. The one that answers has a number and a message of its own history, and
            # its data is from the day on which it was first tried: what of it shapes answers is in its name.
            if body["metadata"]["labels"][_REVISION] == active:
                made[key] = without(body, {"revision", "data", "herald.dev/message", "herald.dev/applied"})
        elif key.startswith("Job/"):
            # Done once, with the settings of whichever revision needed it first.
            made[key] = without(body, {"spec", "herald.dev/applied"})
        elif key == "status":
            made[key] = {**without(body, _COUNTS), "history": _history(body, active)}
        else:
            made[key] = body
    return made


def differences(state: State, wanted: State) -> list[str]:
    """Where `state` is not what `wanted` is, one line each."""
    found, expected = comparable(state, wanted), comparable(wanted, state)
    return [line for key in sorted({*found, *expected}) for line in _lines(key, found.get(key), expected.get(key))]


def without(value: Any, names: Collection[str]) -> Any:
    """The value without what stands under these names, however deep."""
    if isinstance(value, Mapping):
        return {key: without(item, names) for key, item in value.items() if key not in names}
    return [without(item, names) for item in value] if isinstance(value, list | tuple) else value


def _history(status: Mapping[str, Any], active: str) -> list[Any]:
    """Of the revision that answers; of all others nobody may be on the way."""
    entries = status.get("history") or []
    kept = [entry for entry in entries if entry["revision"] == active or entry["outcome"] == "InFlight"]
    return [without(entry, {"number", "promotedAt"}) for entry in kept]


def _lines(path: str, found: Any, wanted: Any) -> list[str]:
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        keys = sorted({*found, *wanted}, key=str)
        return [line for key in keys for line in _lines(f"{path}.{key}", found.get(key), wanted.get(key))]
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [line for number, (a, b) in pairs for line in _lines(f"{path}[{number}]", a, b)]
    return [] if found == wanted else [f"{path}: {found!r}, not {wanted!r}"]
