"""Does the cluster hold what we want? Compares a wanted object with a live one, knowing what an API server adds. Pure.

Wanted is a part of live: defaults, other people's labels and fields of autoscalers are none of our business. What
we once wanted and no longer do is noticed by the digest that each object carries.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from herald_operator.build.naming import APPLIED, Object, digest

_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]+)?)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,3})?$")
_FACTORS: dict[str, Decimal | int] = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
# Lists whose elements are told apart by this key, as server-side apply does.
_KEYS = ("name", "type", "key", "containerPort", "port", "uid", "ip")
_AMOUNTS = frozenset({"requests", "limits", "sizeLimit", "storage", "hard"})
# Whole for an API server: what others put there changes who is selected or let in, and an apply takes it out again.
_WHOLE = frozenset({"selector", "podSelector", "nodeSelector", "ingress", "egress"})


def stamped(wanted: Object) -> Object:
    """The object with the digest of all that we want of it."""
    metadata = wanted["metadata"]
    annotations = {**(metadata.get("annotations") or {}), APPLIED: digest(wanted)}
    return {**wanted, "metadata": {**metadata, "annotations": annotations}}


def differs(wanted: Object, live: Object | None) -> str:
    """The path of the first difference that an apply of `wanted` (stamped) would repair, "" when there is none."""
    if live is None:
        return "(missing)"
    return _differs(wanted, live, "", amount=False)


def _differs(wanted: Any, live: Any, path: str, *, amount: bool) -> str:
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return "" if _empty(wanted) and live is None else path or "(root)"
        for key, value in wanted.items():
            if key not in live:
                if _empty(value):
                    continue
                return f"{path}.{key}"
            found = _differs(value, live[key], f"{path}.{key}", amount=amount or key in _AMOUNTS)
            if found:
                return found
            if key in _WHOLE and value != live[key]:
                return f"{path}.{key}"
        return ""
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return _lists(wanted, live, path, amount=amount)
    if wanted == live or (_empty(wanted) and _empty(live)):
        return ""
    return "" if amount and _same_amount(wanted, live) else path


def _lists(wanted: Sequence[Any], live: Any, path: str, *, amount: bool) -> str:
    if not isinstance(live, Sequence) or isinstance(live, str):
        return "" if _empty(wanted) and live is None else path
    key = _key_of(wanted)
    if key is None:
        if len(wanted) != len(live):
            return path
        pairs = zip(wanted, live, strict=True)
        return next((d for n, (w, f) in enumerate(pairs) if (d := _differs(w, f, f"{path}[{n}]", amount=amount))), "")
    there = {item.get(key): item for item in live if isinstance(item, Mapping)}
    for item in wanted:
        if item[key] not in there:
            return f"{path}[{item[key]}]"
        found = _differs(item, there[item[key]], f"{path}[{item[key]}]", amount=amount)
        if found:
            return found
    return ""


def _key_of(items: Sequence[Any]) -> str | None:
    for key in _KEYS:
        if items and all(isinstance(item, Mapping) and key in item for item in items):
            values = [item[key] for item in items]
            return key if all(isinstance(v, str | int) for v in values) and len(set(values)) == len(values) else None
    return None


def _empty(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, Mapping | Sequence) and len(value) == 0)


def _same_amount(one: Any, other: Any) -> bool:
    first, second = _QUANTITY.match(str(one)), _QUANTITY.match(str(other))
    return first is not None and second is not None and _amount(first) == _amount(second)


def _amount(found: re.Match[str]) -> Decimal:
    number, unit = found.groups()
    if unit is None or unit in _FACTORS:
        return Decimal(number) * Decimal(_FACTORS.get(unit or "", 1))
    return Decimal(f"{number}{unit}")
