"""One broken document for every limit of the CRD's schema, made from the schema itself, and one at the limit."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.resource_documents import GONE, Document, changed

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limit:
    """`path` is dotted, with indexes as parts; `keyword` is the limit that `document` breaks, or just keeps."""

    path: str
    keyword: str
    broken: bool
    document: Document = field(hash=False)

    @property
    def field(self) -> str:
        """The path as errors show it: spec.channels[0].name."""
        return re.sub(r"\.(\d+)", r"[\1]", self.path)

    def __str__(self) -> str:
        return f"{self.field} {'beyond' if self.broken else 'at'} {self.keyword}"


def limits(schema: Schema, document: Document, root: str) -> Iterator[Limit]:
    """Every limit of what stands under `root` in the document; the document itself must keep them all."""
    for path, here, value in walk(schema["properties"][root], document[root], root):
        for keyword, broken, new in _values(here, value):
            yield Limit(path, keyword, broken, changed(document, {path: new}))
        for name in here.get("required", ()):
            yield Limit(f"{path}.{name}", "required", True, changed(document, {f"{path}.{name}": GONE}))


def walk(schema: Schema, value: Any, path: str) -> Iterator[tuple[str, Schema, Any]]:
    """Each part of a value with its schema, from the outside in."""
    yield path, schema, value
    if isinstance(value, dict):
        for name, inner in value.items():
            deeper = schema["properties"][name] if "properties" in schema else schema["additionalProperties"]
            if "." not in name:  # a dotted key cannot stand in a dotted path
                yield from walk(deeper, inner, f"{path}.{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from walk(schema["items"], inner, f"{path}.{number}")


def _values(schema: Schema, value: Any) -> Iterator[tuple[str, bool, Any]]:
    kind = schema.get("type", "string")
    if kind in ("integer", "number"):
        yield from _numbers(schema)
    elif kind == "string":
        yield from _texts(schema, value)
    elif kind == "array":
        for number, broken in ((schema["maxItems"], False), (schema["maxItems"] + 1, True)):
            yield "maxItems", broken, [_nth(schema, value[0], i) for i in range(number)]
        if schema.get("minItems"):
            yield "minItems", True, []
    elif "maxProperties" in schema:
        [some, *_] = value.values()
        for number, broken in ((schema["maxProperties"], False), (schema["maxProperties"] + 1, True)):
            yield "maxProperties", broken, {f"k{i}": some for i in range(number)}
    if "enum" in schema:
        for possible in schema["enum"]:
            if possible == value:
                yield "enum", False, possible
        yield "enum", True, 2 if kind == "integer" else "Neither"


def _numbers(schema: Schema) -> Iterator[tuple[str, bool, Any]]:
    if "maximum" in schema:
        yield "maximum", False, schema["maximum"]
        yield "maximum", True, schema["maximum"] + 1
    if schema.get("exclusiveMinimum"):
        yield "minimum", True, schema["minimum"]
    elif "minimum" in schema:
        yield "minimum", False, schema["minimum"]
        yield "minimum", True, schema["minimum"] - 1


def _texts(schema: Schema, value: Any) -> Iterator[tuple[str, bool, Any]]:
    pattern = schema.get("pattern", "")
    if "maxLength" in schema:
        longest = str(value).ljust(schema["maxLength"], "a")
        if "format" not in schema and re.search(pattern, longest):
            yield "maxLength", False, longest
        yield "maxLength", True, longest + "a"
    if schema.get("minLength"):
        yield "minLength", True, ""
    if pattern:
        yield "pattern", True, " "
        yield "pattern", True, f"{value}\n"
    if schema.get("format") == "date-time":
        yield "format", True, "yesterday"


def _nth(schema: Schema, some: Any, number: int) -> Any:
    if "x-kubernetes-list-map-keys" in schema:
        [key] = schema["x-kubernetes-list-map-keys"]
        return some | {key: f"n{number}"}
    return f"10.0.0.{number}" if schema["x-kubernetes-list-type"] == "set" else some
