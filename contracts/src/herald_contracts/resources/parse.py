"""From a person's YAML, already loaded, to resources: with errors a tired person can act on.

Every error names the field's path as it stands in the file and, for a name that does not exist, the nearest
one that does.
"""

import base64
import binascii
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from herald_contracts.errors import ConfigurationError
from herald_contracts.resources.v1alpha1 import API_VERSION, KIND, MAX_INSTRUCTIONS, AgentDeployment

# Fields of the design that are not here yet: their own hint, since no spelling would help.
NOT_YET = frozenset(
    {
        "security",
        "selfHealing",
        "observability",
        "cloudNativePG",
        "quantization",
        "fallback",
        "checks",
        "analysis",
        "canary",
        "strategy",
        "previewReplicas",
        "wecom",
        "dingtalk",
        "slack",
        "telegram",
        "discord",
        "teams",
        "line",
        "whatsapp",
        "mattermost",
        "matrix",
        "vaultPath",
        "tools",
        "policy",
        "workflows",
        "budget",
        "cache",
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class InvalidResource(ConfigurationError):
    """A resource that cannot be used; `problems` lists every reason, not just the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.message, path=first.path, hint=first.hint)

    def __str__(self) -> str:
        return "\n".join(str(p) for p in self.problems)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one file holds: the deployment, its instructions in place, and Secrets as {name: {key: value}}."""

    deployment: AgentDeployment
    secrets: Mapping[str, Mapping[str, bytes]]


def parse(documents: Iterable[Any]) -> Bundle:
    """Validate the documents of one file: exactly one AgentDeployment, any number of Secrets and ConfigMaps.

    Raises InvalidResource with every problem found.
    """
    deployments: list[AgentDeployment] = []
    secrets: dict[str, dict[str, bytes]] = {}
    texts: dict[str, dict[str, bytes]] = {}
    problems: list[Problem] = []
    for number, document in enumerate(d for d in documents if d is not None):
        here = f"document {number + 1}"
        if not isinstance(document, Mapping):
            problems.append(Problem(here, "is not a mapping", f"begin with `apiVersion: {API_VERSION}`"))
        elif document.get("kind") == KIND:
            try:
                deployments.append(AgentDeployment.model_validate(document))
            except ValidationError as e:
                problems.extend(explain(e, AgentDeployment))
        elif document.get("kind") in ("Secret", "ConfigMap") and document.get("apiVersion") == "v1":
            try:
                name, data = _keys(document, here)
                (secrets if document["kind"] == "Secret" else texts)[name] = data
            except InvalidResource as e:
                problems.extend(e.problems)
        else:
            problems.append(
                Problem(f"{here}.kind", f"{document.get('kind')!r} is not known", f"{KIND}, Secret or ConfigMap")
            )
    if not problems and len(deployments) != 1:
        problems.append(Problem("(file)", f"needs exactly one {KIND}, found {len(deployments)}"))
    if problems:
        raise InvalidResource(problems)
    return Bundle(_resolved(deployments[0], texts), secrets)


def _resolved(deployment: AgentDeployment, texts: Mapping[str, Mapping[str, bytes]]) -> AgentDeployment:
    reference = deployment.spec.instructions_from
    if reference is None:
        return deployment
    try:
        return with_instructions(deployment, texts[reference.name][reference.key].decode())
    except (KeyError, UnicodeDecodeError):
        problem = f"there is no ConfigMap {reference.name!r} with the text {reference.key!r}"
        hint = "add `kind: ConfigMap` with it to the file, after a line with ---"
        raise InvalidResource([Problem("spec.instructionsFrom", problem, hint)]) from None


def with_instructions(deployment: AgentDeployment, text: str) -> AgentDeployment:
    """The deployment with the text that its `instructionsFrom` refers to in place. Raises InvalidResource."""
    if not 0 < len(text) <= MAX_INSTRUCTIONS:
        problem = f"the text has {len(text)} characters, 1 to {MAX_INSTRUCTIONS} are possible"
        raise InvalidResource([Problem("spec.instructionsFrom", problem)])
    spec = deployment.spec.model_copy(update={"instructions": text, "instructions_from": None})
    return deployment.model_copy(update={"spec": spec})


def _keys(document: Mapping[str, Any], here: str) -> tuple[str, dict[str, bytes]]:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        raise InvalidResource([Problem(f"{here}.metadata.name", f"a {document['kind']} needs a name")])
    data: dict[str, bytes] = {}
    plain = "data" if document["kind"] == "ConfigMap" else "stringData"
    for field in ("data", "stringData") if plain == "stringData" else ("data",):
        entries = document.get(field) or {}
        if not isinstance(entries, Mapping):
            raise InvalidResource([Problem(f"{here}.{field}", "must be a mapping of strings")])
        for key, value in entries.items():
            path = f"{here}.{field}.{key}"
            if not isinstance(value, str) or not isinstance(key, str) or "/" in key or key.startswith("."):
                raise InvalidResource([Problem(path, "must be a string under a plain key")])
            try:
                data[key] = value.encode() if field == plain else base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise InvalidResource([Problem(path, "is not base64", "or use stringData")]) from None
    return name, data


def explain(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Each of pydantic's findings as a path in the file, a plain sentence and, where one helps, a hint."""
    return [
        _unknown(tuple(e["loc"]), model)
        if e["type"] == "extra_forbidden"
        else Problem(
            _dotted(tuple(e["loc"])),
            e["msg"].removeprefix("Value error, ")[:1].lower() + e["msg"].removeprefix("Value error, ")[1:],
        )
        for e in error.errors(include_input=False, include_url=False)
    ]


def _unknown(loc: tuple[str | int, ...], model: type[BaseModel]) -> Problem:
    name = str(loc[-1])
    if name in NOT_YET:
        return Problem(
            _dotted(loc), "does not work in this version of Herald", "remove it; CHANGELOG.md says what works"
        )
    known = _fields_at(loc[:-1], model)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
    return Problem(_dotted(loc), "unknown field", hint)


def _fields_at(loc: tuple[str | int, ...], model: type[BaseModel]) -> list[str]:
    here: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int) or here is None:
            continue
        fields = {f.alias or n: f for n, f in here.model_fields.items()}
        here = _model_in(fields[part].annotation) if part in fields else None
    return sorted(f.alias or n for n, f in here.model_fields.items()) if here else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in get_args(annotation) if (m := _model_in(a))), None)


def _dotted(loc: tuple[str | int, ...]) -> str:
    out = ""
    for part in loc:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out or "(root)"
