"""From pydantic's JSON schema to the structural OpenAPI v3 schema that a CustomResourceDefinition takes.

A keyword that has no place here is an error and never dropped: what the models refuse, the API server refuses.

Which defaults are written into the schema, and why not all of them:

- A scalar's default is, at its own level. The API server then shows what holds, CEL rules may rely on it, and a
  merge of Git's object into the live one leaves it alone.
- An object's default is not (`gateway: {}`, or a volume of 10Gi). It would put whole blocks into the object that
  nobody wrote, so that a later version could not tell a wish from a default, and rules like "either replicas or
  autoscaling" would speak about fields that nobody gave. The models fill them in when they read.
- Empty lists and maps are not: absent says the same.
- Nothing inside a list is. Argo CD (and whoever merges) compares a list as one value: an item with a default added
  by the server differs from Git's for ever. Rules about items ask `has`.
- Nothing in `status` is: it is written by one program.

Every description names its default, as `kubectl explain` shows no other.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

Node = dict[str, Any]

_INT32 = 2**31 - 1
_ANNOTATIONS = {"title", "description", "default", "rules"}
_OURS = {"listKey", "listType", "localOnly", "intOrString"}
_OF_TYPE = {
    "object": {"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "maxProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern", "enum", "const", "format"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "enum"},
    "number": {"minimum", "maximum", "exclusiveMinimum"},
    "boolean": set[str](),
}


class Unsupported(Exception):
    """A model says something that the generator cannot say in a CRD."""


class _WithRules(GenerateJsonSchema):
    """Pydantic's schema, and the CEL rules of each model beside its properties."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        if rules := getattr(schema["cls"], "rules", ()):
            found["rules"] = [validation(r.expression, r.message, r.path) for r in rules]
        return found


def validation(expression: str, message: str, path: str = "") -> Node:
    """One entry of x-kubernetes-validations."""
    return {"rule": expression, "message": message} | ({"fieldPath": path} if path else {})


def structural(model: type[BaseModel], *, defaults: bool) -> Node:
    """Schema of one model with everything inlined. Raises Unsupported with the path of what cannot be said."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_WithRules)
    return _Walk(schema.pop("$defs", {})).node(schema, model.__name__, defaults="written" if defaults else "none")


# Where a default is put: into the schema and the description (`kubectl explain` shows the latter only), or less.
_Defaults = Literal["written", "told", "none"]


class _Walk:
    def __init__(self, definitions: Mapping[str, Node]) -> None:
        self._definitions = definitions

    def node(self, schema: Node, path: str, *, defaults: _Defaults) -> Node:
        schema = self._resolved(schema, path)
        kind = "intOrString" if schema.get("intOrString") else schema.get("type")
        said = _sentences(schema, defaults)
        if kind == "intOrString":
            return {"description": said} | _int_or_string(schema, path)
        if kind not in _OF_TYPE:
            raise Unsupported(f"{path}: no type, or one that a CRD does not have: {schema}")
        if unknown := schema.keys() - _OF_TYPE[kind] - _ANNOTATIONS - _OURS - {"type"}:
            raise Unsupported(f"{path}: cannot say {', '.join(sorted(unknown))}")
        node: Node = {"description": said, "type": kind}
        if kind == "object" and "properties" in schema:
            node |= self._object(schema, path, defaults)
        elif kind == "object":
            node |= self._map(schema, path)
        elif kind == "array":
            node |= self._array(schema, path, defaults)
        else:
            node |= _scalar(schema, kind)
            if defaults == "written" and schema.get("default") is not None:
                node["default"] = _plain(schema["default"])
        rules = [*schema.get("rules", ()), *node.pop("x-kubernetes-validations", ())]
        return node | ({"x-kubernetes-validations": rules} if rules else {})

    def _object(self, schema: Node, path: str, defaults: _Defaults) -> Node:
        fields = {
            name: self.node(field, f"{path}.{name}", defaults=defaults)
            for name, field in schema["properties"].items()
            if not field.get("localOnly")
        }
        required = [name for name in schema.get("required", ()) if name in fields]
        return ({"required": required} if required else {}) | {"properties": fields}

    def _map(self, schema: Node, path: str) -> Node:
        """Keys have no pattern in OpenAPI v3: a rule says it."""
        patterns: dict[str, Node] = schema.get("patternProperties", {})
        if len(patterns) != 1:
            raise Unsupported(f"{path}: a map needs exactly one kind of key")
        [(pattern, value)] = patterns.items()
        longest = schema["propertyNames"]["maxLength"]
        rule = validation(
            f"self.all(key, size(key) <= {longest} && key.matches(r'{pattern}'))",
            f"keys have at most {longest} characters and match {pattern}",
        )
        values = self.node(value, f"{path}.*", defaults="none")
        values.pop("description")
        return {
            "maxProperties": schema["maxProperties"],
            "additionalProperties": values,
            "x-kubernetes-validations": [rule],
        }

    def _array(self, schema: Node, path: str, defaults: _Defaults) -> Node:
        items = self.node(schema["items"], f"{path}[]", defaults="none" if defaults == "none" else "told")
        if not items["description"]:
            items.pop("description")
        node = _kept(schema, ("minItems", "maxItems")) | {"items": items}
        if "listKey" in schema:
            return node | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [schema["listKey"]]}
        return node | {"x-kubernetes-list-type": schema.get("listType", "atomic")}

    def _resolved(self, schema: Node, path: str) -> Node:
        """The schema with references and `X or nothing` followed; of two descriptions both are kept."""
        while True:
            if "$ref" in schema:
                inner = self._definitions[schema["$ref"].removeprefix("#/$defs/")]
                outer = {k: v for k, v in schema.items() if k != "$ref"}
            elif "anyOf" in schema:
                some = [s for s in schema["anyOf"] if s != {"type": "null"}]
                if len(some) != 1:
                    raise Unsupported(f"{path}: cannot say one of several types")
                inner = some[0]
                outer = {k: v for k, v in schema.items() if k != "anyOf"}
            else:
                return schema
            texts = [s["description"] for s in (outer, inner) if s.get("description")]
            schema = inner | outer | ({"description": "\n".join(texts)} if texts else {})


def _int_or_string(schema: Node, path: str) -> Node:
    found = _kept(schema, ("maxLength", "pattern"))
    if set(found) != {"maxLength", "pattern"}:
        raise Unsupported(f"{path}: a quantity needs maxLength and pattern")
    either = [{"type": "integer"}, {"type": "string"}]
    return {"anyOf": either, "x-kubernetes-int-or-string": True, "minimum": 0} | found


def _scalar(schema: Node, kind: str) -> Node:
    node = _kept(schema, ("enum", "minLength", "maxLength", "pattern", "format", "minimum", "maximum"))
    if "const" in schema:
        node["enum"] = [schema["const"]]
    if "exclusiveMinimum" in schema:
        node |= {"minimum": schema["exclusiveMinimum"], "exclusiveMinimum": True}
    if kind == "integer":
        node["format"] = "int32" if schema.get("maximum", _INT32 + 1) <= _INT32 else "int64"
    return node


def _kept(schema: Mapping[str, Any], names: Iterable[str]) -> Node:
    return {name: schema[name] for name in names if name in schema}


def _sentences(schema: Node, defaults: _Defaults) -> str:
    """The field's own words, its model's, and its default."""
    texts = [" ".join(text.split()) for text in schema.get("description", "").split("\n") if text.strip()]
    default = schema.get("default")
    if defaults != "none" and isinstance(default, dict):
        needed = [f"{k}: {default[k]}" for k in schema.get("required", ()) if default.get(k) is not None]
        texts += [f"Default: {', '.join(needed)}"] if needed else []
    elif defaults != "none" and default not in (None, "", [], {}):
        texts.append(f"Default: {_text(default)}")
    sentences = [_sentence(text) for text in texts]
    return " ".join(
        s for i, s in enumerate(sentences) if not any(later.startswith(s[:-1]) for later in sentences[i + 1 :])
    )


def _sentence(text: str) -> str:
    whole = text if text.endswith((".", "?", "!")) else f"{text}."
    # Not where it begins with a name or an address: those are written as they are.
    return whole[0].upper() + whole[1:] if re.match(r"[a-z]+\b(?![:/.`(])", whole) else whole


def _text(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _plain(default: Any) -> Any:
    """5.0 as 5: what the API server gives back."""
    return int(default) if isinstance(default, float) and default.is_integer() else default
