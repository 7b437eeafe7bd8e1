"""Secrets of local mode: those of the file, and those that nobody had to write.

Written as Kubernetes mounts them, one folder per Secret and one file per key, so that the services read the same
thing everywhere. Only their owner can read them.
"""

import base64
import contextlib
import secrets as random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from herald_cli import children
from herald_cli.servers.program import File
from herald_contracts.errors import ConfigurationError
from herald_contracts.resources.parse import Bundle
from herald_operator.build.secrets import wanted


@dataclass(frozen=True, slots=True)
class Made:
    """A key that was made up, and where it lies."""

    name: str
    key: str
    file: Path


def materialise(bundle: Bundle, folder: Path) -> tuple[Made, ...]:
    """Write every Secret below `folder`; those made up now are returned. What was made before stays.

    Raises ConfigurationError naming the field whose Secret is missing or incomplete.
    """
    for name, data in bundle.secrets.items():
        _replace(folder / name, data)
    made: dict[tuple[str, str], Made] = {}
    # whsec first: where two channels share a Secret, such a key is good for both.
    for want in sorted(wanted(bundle.deployment), key=lambda w: w.kind != "whsec"):
        for key in want.keys:
            file = folder / want.name / key
            if file.exists() and file.stat().st_size > 0:
                continue
            if want.name in bundle.secrets or want.made == "never":
                raise ConfigurationError(
                    f"the Secret {want.name!r} needs the key {key!r}",
                    path=want.path,
                    hint="add `kind: Secret` with it to the file, after a line with ---",
                )
            children.write(File(file, _make_up(want.kind)))
            file.parent.chmod(0o700)
            made[(want.name, key)] = Made(want.name, key, file)
    return tuple(made.values())


def value(folder: Path, name: str, key: str, *, length: int = 24) -> str:
    """A password for Herald's own parts, made once. Read by nobody but them."""
    file = folder / name / key
    with contextlib.suppress(FileNotFoundError):
        kept = file.read_text().strip()
        if kept:
            return kept
    children.write(File(file, random.token_hex(length)))
    return file.read_text()


def _make_up(kind: str) -> str:
    key = base64.b64encode(random.token_bytes(32)).decode()
    return f"whsec_{key}" if kind == "whsec" else key


def _replace(folder: Path, data: Mapping[str, bytes]) -> None:
    """The folder's keys become exactly `data`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    for file in folder.iterdir():
        if file.name not in data:
            file.unlink()
    for key, content in data.items():
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise ConfigurationError(f"the key {key!r} is not text", path=f"Secret {folder.name}") from None
        children.write(File(folder / key, text))
