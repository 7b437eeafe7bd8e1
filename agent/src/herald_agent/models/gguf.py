"""Reads what a GGUF file says about itself, without loading the model.

The chat template and the control tokens of a model live in its GGUF, but the worker that renders the prompt may
run where the file is not. So they are read once, when the model is set up, and written as one Jinja file.
The file is somebody's download: every count and length in it is checked against the file's size before use.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import argparse
import os
import struct
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import BinaryIO

from herald_agent.models.template import ChatTemplate, Facts, with_facts
from herald_contracts.errors import ConfigurationError

Value = bool | int | float | str | list["Value"]

TEMPLATE = "tokenizer.chat_template"
TOKENS = "tokenizer.ggml.tokens"
TOKEN_TYPES = "tokenizer.ggml.token_type"  # noqa: S105
BOS = "tokenizer.ggml.bos_token_id"
EOS = "tokenizer.ggml.eos_token_id"
ADDS_BOS = "tokenizer.ggml.add_bos_token"

_CONTROL = 3  # of enum llama_token_type
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MAX_KEYS = 65_536
_MAX_ELEMENTS = 4_194_304
_MAX_STRING = 16 * 1024 * 1024
_MAX_DEPTH = 4


def read_metadata(path: Path, keys: Collection[str]) -> dict[str, Value]:
    """The values of those `keys` that the file has.

    Raises ConfigurationError, naming the file and the fix, where it cannot be read or is not a sound GGUF.
    """
    try:
        with path.open("rb") as file:
            return _Reader(path, file).metadata(frozenset(keys))
    except OSError as e:
        raise ConfigurationError(
            f"cannot be read: {e.strerror or e}", path=str(path), hint="check the path and its owner"
        ) from None


def write_template(gguf: Path, target: Path) -> bool:
    """Write the model's own chat template to `target`; False, and nothing written, where the model has none.

    Raises ConfigurationError where the GGUF is not sound or its template does not work.
    """
    metadata = read_metadata(gguf, (TEMPLATE, TOKENS, TOKEN_TYPES, BOS, EOS, ADDS_BOS))
    source = metadata.get(TEMPLATE)
    if not isinstance(source, str) or not source.strip():
        return False
    text = with_facts(source, facts_of(metadata))
    ChatTemplate.compile(text, name=f"chat template of {gguf}")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(target)
    return True


def facts_of(metadata: Mapping[str, Value]) -> Facts:
    """What the template needs to know of the tokenizer.

    A tokenizer that puts the begin token in front by itself gets none from the template: two of them make a
    model worse, and llama.cpp warns of it.
    """
    tokens, types = metadata.get(TOKENS), metadata.get(TOKEN_TYPES)
    names = [token if isinstance(token, str) else "" for token in tokens] if isinstance(tokens, list) else []

    def named(key: str) -> str:
        number = metadata.get(key)
        return names[number] if isinstance(number, int) and 0 <= number < len(names) else ""

    control = (
        tuple(name for name, kind in zip(names, types, strict=False) if kind == _CONTROL and len(name) > 1)
        if isinstance(types, list)
        else ()
    )
    return Facts(
        bos_token="" if metadata.get(ADDS_BOS) is True else named(BOS),
        eos_token=named(EOS),
        control=control,
    )


class _Reader:
    """One pass over the header. Raises ConfigurationError where it cannot be true."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._left = os.fstat(file.fileno()).st_size

    def metadata(self, wanted: frozenset[str]) -> dict[str, Value]:
        if self._left < 24 or self._read(4) != b"GGUF":
            raise self._broken("it is not a GGUF file", "name a file that ends in .gguf")
        version = self._number("<I")
        if version not in (2, 3):
            raise self._broken(f"GGUF version {version} is not 2 or 3", "convert the model with a current llama.cpp")
        self._number("<Q")  # tensors: of no interest here
        count = self._number("<Q")
        if count > _MAX_KEYS:
            raise self._broken(f"its header claims {count} keys")
        found: dict[str, Value] = {}
        for _ in range(count):
            key = self._string()
            value = self._value(self._number("<I"), keep=key in wanted, depth=0)
            if value is not None:
                found[key] = value
        return found

    def _value(self, kind: int, *, keep: bool, depth: int) -> Value | None:
        if kind == _STRING:
            if keep:
                return self._string()
            self._skip(self._number("<Q"))
            return None
        if kind == _ARRAY:
            return self._array(keep=keep, depth=depth)
        if kind not in _SCALARS:
            raise self._broken(f"its header has a value of unknown type {kind}")
        size = struct.calcsize(_SCALARS[kind])
        if not keep:
            self._skip(size)
            return None
        (value,) = struct.unpack(_SCALARS[kind], self._read(size))
        result: bool | int | float = value
        return result

    def _array(self, *, keep: bool, depth: int) -> list[Value] | None:
        kind, count = self._number("<I"), self._number("<Q")
        if depth >= _MAX_DEPTH or count > _MAX_ELEMENTS:
            raise self._broken(f"its header claims a list of {count} values at depth {depth}")
        layout = _SCALARS.get(kind)
        if layout is not None:
            size = struct.calcsize(layout) * count
            if keep:
                return list(struct.unpack(f"<{count}{layout[1]}", self._read(size)))
            self._skip(size)
            return None
        values = [self._value(kind, keep=keep, depth=depth + 1) for _ in range(count)]
        return [value for value in values if value is not None] if keep else None

    def _string(self) -> str:
        size = self._number("<Q")
        if size > _MAX_STRING:
            raise self._broken(f"its header claims a text of {size} bytes")
        return self._read(size).decode("utf-8", "replace")

    def _number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self._read(struct.calcsize(layout)))
        return int(value)

    def _read(self, size: int) -> bytes:
        self._take(size)
        data = self._file.read(size)
        if len(data) != size:
            raise self._broken("it became shorter while it was read")
        return data

    def _skip(self, size: int) -> None:
        self._take(size)
        self._file.seek(size, os.SEEK_CUR)

    def _take(self, size: int) -> None:
        if size > self._left:
            raise self._broken("it ends inside its header")
        self._left -= size

    def _broken(self, why: str, hint: str = "download it again") -> ConfigurationError:
        return ConfigurationError(f"this model file cannot be used: {why}", path=str(self._path), hint=hint)


def main(argv: list[str] | None = None) -> int:
    """`python -m herald_agent.models.gguf MODEL.gguf TEMPLATE.jinja`: 0 written, 1 the model has none, 78 broken."""
    parser = argparse.ArgumentParser(prog="herald_agent.models.gguf", description=write_template.__doc__)
    parser.add_argument("gguf", type=Path, help="the model file")
    parser.add_argument("target", type=Path, help="the Jinja file to write")
    arguments = parser.parse_args(argv)
    try:
        written = write_template(arguments.gguf, arguments.target)
    except ConfigurationError as e:
        sys.stderr.write(f"{e}\n")
        return 78
    return 0 if written else 1


if __name__ == "__main__":
    sys.exit(main())
