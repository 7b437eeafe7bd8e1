"""Valid specs without end, made from the CRD itself: a field that a later Herald adds is among them by itself.

The schema says what a value may be; the models say what fits together. What they do not take is mended: an optional
field goes or comes, a word is another one, until they do. So nearly every spec that is begun is a valid one.

Paths are those of `kubectl explain`, with [] for an item of a list: channels[].hmac.replyURL.
"""

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from typing import Any

from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from herald_contracts.resources.v1alpha1 import Spec
from tests.crd_schema import (
    GONE,
    SCHEMA,
    Node,
    Value,
    as_kept,
    at,
    fits,
    model_of,
    parts,
    paths,
    places,
    value_at,
    with_value,
)

# Something for every pattern of the schema, so that not all names are noise; a pattern that none of these fits is
# served by noise alone.
_WORDS = (
    "alpha", "beta", "gamma-2", "a.example.com", "b.example.com", "registry.example.com/team/image:1",
    "https://a.example.com/v1", "https://b.example.com:8443/x", "http://c.team.svc:8000/v1", "nats://a.example.com:4222",
    "tls://b.example.com:4223", "1Gi", "20Gi", "512Mi", "10.0.0.0/8", "192.168.1.7", "cli_a1b2c3d4", "cli_z9y8x7w6",
)  # fmt: skip
_AMOUNTS: Mapping[str, tuple[str | int, ...]] = {
    "cpu": ("10m", "0.02", "250m", 1),
    "memory": ("16Mi", "33554432", "64Mi"),
    "ephemeral-storage": ("1Gi", "2G"),
    "nvidia.com/gpu": (1, 2),
}
_KEYS = ("example.com/alpha", "beta", "example.com/gamma")
_MOST_ITEMS = 3


@dataclass(frozen=True)
class Taste:
    """What is asked of a spec beyond being valid.

    `fixed` has strategies, or GONE, by path: these are there whenever what they stand in is. `plain`: only words and
    amounts that any cluster takes. `small`: the most that numbers are, by the last name of their path.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False
    small: Mapping[str, int] = field(default_factory=dict)

    def without(self, path: str) -> "Taste":
        """The same, with nothing fixed at one path."""
        return replace(self, fixed={p: strategy for p, strategy in self.fixed.items() if p != path})

    def fixes(self, path: str) -> bool:
        """Whether the path, or what it stands in, is fixed."""
        return any(path == p or path.startswith((f"{p}.", f"{p}[")) for p in self.fixed)


ANY = Taste()


@st.composite
def specs(draw: st.DrawFn, taste: Taste = ANY, *, having: str = "") -> Value:
    """A spec that the models take; `having` is the path of a field that is there."""
    spec: Value = _Maker(draw, taste, having).value(SCHEMA, Spec, "")
    return spec


@st.composite
def other_at(draw: st.DrawFn, spec: Value, path: str, taste: Taste = ANY) -> Value:
    """The spec with another value in one place that `path` means; it need not fit the rest."""
    place = draw(st.sampled_from(list(places(spec, parts(path)))))
    node, model = at(path)
    old, maker = value_at(spec, place), _Maker(draw, taste, "")
    for _ in range(10):
        new = maker.value(node, model, path)
        if new != old:
            return with_value(spec, place, new)
    return reject()


@st.composite
def updates(draw: st.DrawFn, before: Value, taste: Taste = ANY) -> Value:
    """A spec that the API server lets follow on `before`: some fields are others, some of its blocks, or all.

    What a rule with `oldSelf` reads stays what it was.
    """
    kind = draw(st.sampled_from(("blocks", "fields", "all")))
    after = before if kind == "fields" else draw(specs(taste))
    if kind == "blocks":
        mixed = {name: draw(st.sampled_from((before, after))) for name in sorted({*before, *after})}
        after = _Maker(draw, taste, "").fitting({name: of[name] for name, of in mixed.items() if name in of})
    elif kind == "fields":
        for _ in range(draw(st.integers(1, 4))):
            there = [p for p in paths() if not taste.fixes(p) and list(places(after, parts(p)))]
            trial = draw(other_at(after, draw(st.sampled_from(there)), taste))
            after = trial if fits(Spec, trial) else after
    after = as_kept(before, after)
    return after if fits(Spec, after) else reject()


def drawn(strategy: st.SearchStrategy[Any], count: int, number: int) -> list[Any]:
    """The same `count` values for the same `number`, for tests that cannot run inside of Hypothesis."""
    return [_drawn(strategy, 1_000 * number + part) for part in range(count)]


def _drawn(strategy: st.SearchStrategy[Any], number: int) -> Any:
    tried: list[Any] = []

    @seed(number)
    @settings(
        max_examples=5,
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        tried.append(copy.deepcopy(value))

    collect()
    # The first one is the smallest that there is, and each of the others a bit like the one before.
    return tried[-1]


class _Maker:
    """Draws one value. `having` leads it to one field, of a list in its first item."""

    def __init__(self, draw: st.DrawFn, taste: Taste, having: str) -> None:
        self._draw, self._taste, self._having = draw, taste, having
        self._fullness = draw(st.integers(1, 3))  # of 4 optional fields

    def value(self, node: Node, model: type[BaseModel] | None, path: str, *, least: bool = False) -> Any:
        if path in self._taste.fixed:
            return self._draw(self._taste.fixed[path])
        if "properties" in node:
            assert model is not None, f"{path}: the CRD has an object that no model knows"
            return self._object(node, model, path, least)
        if node.get("type") == "array":
            return self._list(node, model, path)
        if node.get("type") == "object":
            return self._map(node)
        return self._draw(_scalar(node, path.rpartition(".")[2], self._taste))

    def fitting(self, spec: Value) -> Value:
        """The spec, mended where its blocks do not fit together."""
        return spec if fits(Spec, spec) else self._mended(spec, SCHEMA, Spec, "")

    def _object(self, node: Node, model: type[BaseModel], path: str, least: bool) -> Value:
        made = {}
        for name, inner in node["properties"].items():
            deeper = f"{path}.{name}".lstrip(".")
            if self._taste.fixed.get(deeper) is GONE:
                continue
            needed = name in node.get("required", ()) or self._leads_to(deeper) or deeper in self._taste.fixed
            if needed or (not least and self._draw(_QUARTERS) > 4 - self._fullness):
                made[name] = self.value(inner, model_of(model, name), deeper, least=least)
        if fits(model, made):
            return made
        return self._mended(made, node, model, path)

    def _mended(self, made: Value, node: Node, model: type[BaseModel], path: str) -> Value:
        possible: list[tuple[str, Any]] = []
        for name in self._draw(st.permutations(sorted(node["properties"]))):
            inner, deeper = node["properties"][name], f"{path}.{name}".lstrip(".")
            if self._taste.fixed.get(deeper) is GONE:
                continue
            if name not in made:
                possible.append((name, self.value(inner, model_of(model, name), deeper, least=True)))
            elif name not in node.get("required", ()) and not self._leads_to(deeper) and not self._taste.fixes(deeper):
                possible.append((name, GONE))
            if deeper not in self._taste.fixed:
                possible += [(name, word) for word in inner.get("enum", ()) if word != made.get(name)]
        for count in (1, 2, 3):
            for changes in combinations(possible, count):
                trial = {name: value for name, value in {**made, **dict(changes)}.items() if value is not GONE}
                if fits(model, trial):
                    return trial
        return reject()

    def _list(self, node: Node, model: type[BaseModel] | None, path: str) -> list[Any]:
        having, led = self._having, self._leads_to(f"{path}[]")
        least = max(node.get("minItems", 0), int(led))
        made: list[Any] = []
        for _ in range(self._draw(st.integers(least, min(node["maxItems"], _MOST_ITEMS)))):
            made.append(self.value(node["items"], model, f"{path}[]"))
            self._having = "" if led else having
        self._having = having
        if node["x-kubernetes-list-type"] == "set":
            return list(dict.fromkeys(made))
        [*keys] = node.get("x-kubernetes-list-map-keys", ())
        return list({tuple(item[k] for k in keys): item for item in reversed(made)}.values())[::-1] if keys else made

    def _map(self, node: Node) -> Value:
        values = node["additionalProperties"]
        if "x-kubernetes-int-or-string" not in values:
            keys = self._draw(st.lists(st.sampled_from(_KEYS), max_size=_MOST_ITEMS, unique=True))
            return {key: self._draw(_scalar(values, "", self._taste)) for key in keys}
        known = [key for key in _AMOUNTS if not self._taste.plain or key in ("cpu", "memory")]
        keys = self._draw(st.lists(st.sampled_from(known), max_size=_MOST_ITEMS, unique=True))
        noise = st.nothing() if self._taste.plain else _scalar(values, "", self._taste)
        return {key: self._draw(st.sampled_from(_AMOUNTS[key]) | noise) for key in keys}

    def _leads_to(self, path: str) -> bool:
        return self._having == path or self._having.startswith((f"{path}.", f"{path}["))


_QUARTERS = st.integers(1, 4)


def _scalar(node: Node, name: str, taste: Taste) -> st.SearchStrategy[Any]:
    known = {key: value for key, value in node.items() if key != "description"}
    return _scalar_of(json.dumps(known, sort_keys=True), taste.small.get(name), taste.plain)


@cache  # a strategy is dear to make
def _scalar_of(text: str, small: int | None, plain: bool) -> st.SearchStrategy[Any]:
    node = json.loads(text)
    kind = node.get("type")
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        return st.integers(node["minimum"], node["maximum"] if small is None else min(small, node["maximum"]))
    if kind == "number":
        if plain:
            return st.integers(1, int(2 * node["maximum"])).map(lambda n: n / 2)
        exclusive = node.get("exclusiveMinimum", False)
        return st.floats(node["minimum"], node["maximum"], exclude_min=exclusive, allow_subnormal=False)
    least, most, pattern = node.get("minLength", 0), node["maxLength"], node.get("pattern")
    if pattern is None:
        alphabet = st.characters(codec="ascii", categories=("L", "N")) if plain else st.characters(codec="utf-8")
        return st.text(alphabet, min_size=max(least, 1 if plain else 0), max_size=min(most, 12))
    # Python's $ would take a line end after it.
    whole = re.compile(f"{pattern.removesuffix('$')}\\Z")
    words = [word for word in _WORDS if whole.match(word) and least <= len(word) <= most]
    if plain and words:
        return st.sampled_from(words)
    noise = st.from_regex(whole, fullmatch=True).filter(lambda made: len(made) <= most)
    return st.sampled_from(words) | noise if words else noise
