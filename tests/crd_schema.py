"""The schema of the CRD's spec, and ways through it: which fields there are, what is where, what may never change."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from herald_contracts.resources.v1alpha1 import Spec

Node = Mapping[str, Any]
Value = dict[str, Any]
Place = tuple[str | int, ...]
GONE: Any = object()  # no value at all

_CRD = Path(__file__).parents[1] / "crds" / "herald.dev_agentdeployments.yaml"
_VERSION = yaml.safe_load(_CRD.read_text())["spec"]["versions"][0]
SCHEMA: Node = _VERSION["schema"]["openAPIV3Schema"]["properties"]["spec"]
_RULE_READS = re.compile(r"\b(?:self|oldSelf)\.([A-Za-z.?]+)")


@cache
def paths() -> tuple[str, ...]:
    """Every field of the spec that holds a value of its own, lists and maps as a whole among them."""
    return tuple(_paths(SCHEMA, ""))


def _paths(node: Node, path: str) -> Iterator[str]:
    if "properties" in node:
        for name, inner in node["properties"].items():
            yield from _paths(inner, f"{path}.{name}".lstrip("."))
    else:
        yield path
        if "properties" in node.get("items", {}):
            yield from _paths(node["items"], f"{path}[]")


def fits(model: type[BaseModel], value: Value) -> bool:
    """Whether the model takes it."""
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


def model_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Of what is in a field; of a list, of its items."""
    info = next(f for n, f in model.model_fields.items() if (f.alias or n) == name)
    return _model_in(info.annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in get_args(annotation) if (m := _model_in(a)) is not None), None)


def at(path: str) -> tuple[Node, type[BaseModel] | None]:
    """The schema at a path, and the model of what is there."""
    node, model = SCHEMA, Spec
    here: type[BaseModel] | None = model
    for part in parts(path):
        if part == "[]":
            node = node["items"]
        else:
            assert here is not None
            node, here = node["properties"][part], model_of(here, part)
    return node, here


def parts(path: str) -> list[str]:
    """The names of a path one by one, [] among them."""
    return path.replace("[]", ".[]").split(".")


def places(value: Any, parts: Sequence[str]) -> Iterator[Place]:
    """Where in a value all the fields are that a path means."""
    if not parts:
        yield ()
    elif parts[0] == "[]":
        for number, item in enumerate(value):
            yield from ((number, *rest) for rest in places(item, parts[1:]))
    elif isinstance(value, dict) and parts[0] in value:
        yield from ((parts[0], *rest) for rest in places(value[parts[0]], parts[1:]))


def value_at(value: Any, place: Iterable[str | int]) -> Any:
    """What is there, or GONE."""
    for part in place:
        if isinstance(value, dict) and part not in value:
            return GONE
        value = value[part]
    return value


def with_value(spec: Value, place: Place, new: Any) -> Value:
    """A copy with another value in one place, or with none (GONE)."""
    made = copy.deepcopy(spec)
    here: Any = made
    for part in place[:-1]:
        if isinstance(here, dict):
            here.setdefault(part, {})
        here = here[part]
    if new is GONE:
        here.pop(place[-1], None)
    else:
        here[place[-1]] = copy.deepcopy(new)
    return made


@cache
def kept() -> tuple[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]], ...]:
    """Places that rules with `oldSelf` are about, and what they read there."""
    return tuple(_rules(SCHEMA, ()))


def _rules(node: Node, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]]:
    for rule in node.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"]:
            about = (*path, *rule.get("fieldPath", "").lstrip(".").split("."))
            read = {tuple(found.replace("?", "").split(".")) for found in _RULE_READS.findall(rule["rule"])}
            plain = {tuple(p for p in parts if p not in ("hasValue", "orValue")) for parts in read}
            yield tuple(p for p in about if p), tuple(sorted((*path, *parts) for parts in plain))
    for name, inner in node.get("properties", {}).items():
        yield from _rules(inner, (*path, name))


def as_kept(before: Value, after: Value) -> Value:
    """`after`, with what no update may change as it was in `before`."""
    for about, reads in kept():
        was, now = value_at(before, about), value_at(after, about)
        if not reads:
            # The rule compares the whole, where there are an old and a new one.
            same = was is GONE or now is GONE or was == now
        else:
            same = all(_shown(value_at(before, read)) == _shown(value_at(after, read)) for read in reads)
        if not same:
            after = with_value(after, about, was)
    return after


def _shown(value: Any) -> Any:
    """Of an object a rule asks only whether it is there."""
    return isinstance(value, dict) or value
