"""Secrets of local mode: those of the file, and those that nobody had to write.

Written as Kubernetes mounts them, one folder per Secret and one file per key, so that the services read the same
thing everywhere. Only their owner can read them.
"""

import base64
import contextlib
import secrets as random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from herald_cli import children
from herald_cli.servers.program import File
from herald_contracts.errors import ConfigurationError
from herald_contracts.resources.parse import Bundle
from herald_contracts.resources.v1alpha1 import Spec
from herald_operator.build.settings import session_secret


@dataclass(frozen=True, slots=True)
class Wanted:
    """One Secret that the deployment refers to. `made` are keys that may be made up when nobody gave them."""

    name: str
    path: str
    keys: tuple[str, ...]
    made: bool
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Made:
    """A key that was made up, and where it lies."""

    name: str
    key: str
    file: Path


def wanted(bundle: Bundle) -> tuple[Wanted, ...]:
    """The Secrets that the deployment needs, with the field that refers to each. Pure."""
    return tuple(_wanted(bundle.deployment.spec, bundle))


def _wanted(spec: Spec, bundle: Bundle) -> Iterator[Wanted]:
    for index, channel in enumerate(spec.channels):
        path = f"spec.channels[{index}]"
        if channel.web is not None:
            name = session_secret(bundle.deployment, channel.name)
            yield Wanted(name, f"{path}.web", ("session-key",), made=True)
        if channel.hmac is not None:
            yield Wanted(channel.hmac.secret_ref.name, f"{path}.hmac.secretRef.name", ("secret",), made=True)
        if channel.standard_webhooks is not None:
            reference = channel.standard_webhooks.secret_ref.name
            yield Wanted(reference, f"{path}.standardWebhooks.secretRef.name", ("secret",), made=True, kind="whsec")
        if channel.feishu is not None:
            keys = ("app-secret", "encrypt-key", "verification-token")
            yield Wanted(channel.feishu.secret_ref.name, f"{path}.feishu.secretRef.name", keys, made=False)
    if spec.inference.openai is not None and spec.inference.openai.secret_ref is not None:
        reference = spec.inference.openai.secret_ref.name
        yield Wanted(reference, "spec.inference.openai.secretRef.name", ("api-key",), made=False)


def materialise(bundle: Bundle, folder: Path) -> tuple[Made, ...]:
    """Write every Secret below `folder`; those made up now are returned. What was made before stays.

    Raises ConfigurationError naming the field whose Secret is missing or incomplete.
    """
    for name, data in bundle.secrets.items():
        _replace(folder / name, data)
    made: dict[tuple[str, str], Made] = {}
    # whsec first: where two channels share a Secret, such a key is good for both.
    for want in sorted(wanted(bundle), key=lambda w: w.kind != "whsec"):
        for key in want.keys:
            file = folder / want.name / key
            if file.exists() and file.stat().st_size > 0:
                continue
            if want.name in bundle.secrets or not want.made:
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
