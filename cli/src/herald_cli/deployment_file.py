"""A person's YAML file, read so that every complaint names the line.

The same file works on a cluster, so nothing here is special to local mode; but YAML silently takes the last of two
equal keys, and a person who wrote a field twice meant one of them.
"""

import hashlib
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from herald_contracts.errors import ConfigurationError
from herald_contracts.resources.parse import Bundle, InvalidResource, Problem, parse
from herald_contracts.resources.v1alpha1 import KIND

_MAX_BYTES = 1_048_576


class InvalidFile(ConfigurationError):
    """The file cannot be used; `problems` lists every reason with its line."""

    def __init__(self, file: Path, problems: tuple[str, ...]) -> None:
        super().__init__(problems[0], path=str(file))
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


@dataclass(frozen=True, slots=True)
class DeploymentFile:
    """What a file holds. `digest` tells whether it has changed since."""

    path: Path
    digest: str
    bundle: Bundle


def read(path: Path) -> DeploymentFile:
    """Read and validate. Raises ConfigurationError when there is no such file, InvalidFile for what is in it."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigurationError("is larger than 1 MiB", path=str(path))
        data = path.read_bytes()
    except OSError as e:
        raise ConfigurationError(
            e.strerror or "cannot be read", path=str(path), hint="herald up -f FILE; examples/ has some to begin with"
        ) from None
    lines: dict[str, int] = {}
    try:
        documents = list(_documents(data, lines))
        bundle = parse(documents)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line = mark.line + 1 if mark else 1
        raise InvalidFile(path, (f"{path}:{line}: {e.problem or e.context or 'is not YAML'}",)) from None
    except yaml.YAMLError as e:
        raise InvalidFile(path, (f"{path}: is not YAML: {str(e).splitlines()[0]}",)) from None
    except UnicodeDecodeError:
        raise InvalidFile(path, (f"{path}: is not UTF-8 text",)) from None
    except RecursionError:
        raise InvalidFile(path, (f"{path}: is nested too deeply, or contains itself",)) from None
    except ValueError as e:  # a value that contradicts its own tag, such as `!!int x`
        raise InvalidFile(path, (f"{path}: is not YAML: {e}",)) from None
    except InvalidResource as e:
        raise InvalidFile(path, tuple(_placed(path, problem, lines) for problem in e.problems)) from None
    return DeploymentFile(path.resolve(), hashlib.sha256(data).hexdigest(), bundle)


def _placed(path: Path, problem: Problem, lines: dict[str, int]) -> str:
    """The problem with the line of its field, or of the nearest field around it that exists."""
    where = problem.path
    while where and where not in lines:
        where = where[: max(where.rfind("."), where.rfind("["), 0)]
    line = lines.get(where)
    return f"{path}:{line}: {problem}" if line else f"{path}: {problem}"


def _documents(data: bytes, lines: dict[str, int]) -> Iterator[Any]:
    """Each document's value; fills `lines` with the line of every path in it, as `parse` names paths."""
    loader = _Loader(data.decode("utf-8"))
    number = 0
    try:
        while loader.check_node():
            node = loader.get_node()
            value = loader.construct_document(node) if node is not None else None
            if node is None or value is None:
                continue
            number += 1
            kind = value.get("kind") if isinstance(value, dict) else None
            _note(node, "" if kind == KIND else f"document {number}", lines)
            yield value
    finally:
        loader.dispose()


def _note(node: yaml.Node, path: str, lines: dict[str, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else str(key.value)
            lines[below] = key.start_mark.line + 1
            _note(value, below, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note(value, f"{path}[{index}]", lines)


class _Loader(yaml.SafeLoader):
    """YAML without duplicate keys and without dates: a name like 2026-01-01 is text to everybody who writes it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is given twice, first on line {seen[key]}", key_node.start_mark
                )
            seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
