"""Secrets from folders of files, as Kubernetes mounts them: one file per key, replaced as a whole.

Read again when a file changes, so that a rotation needs no restart. A value is never logged, and a missing
or empty one is refused at start, not at the first request.
"""

import os
from pathlib import Path

from herald_contracts.errors import ConfigurationError

_MAX = 64 * 1024


class SecretFolder:
    """The keys of one Secret."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, str] = {}
        self._seen: dict[str, tuple[tuple[int, int, int], bytes]] = {}

    def get(self, key: str) -> bytes:
        """The current value without surrounding white space. Raises ConfigurationError when missing or empty."""
        value = self.find(key)
        if not value:
            raise ConfigurationError(
                f"the key {key!r} is missing or empty", path=str(self._folder), hint="add it to the Secret"
            )
        return value

    def live(self, key: str) -> tuple[bytes, ...]:
        """The current value first, then `<key>-previous` while a rotation lasts."""
        previous = self.find(f"{key}-previous")
        return (self.get(key), previous) if previous else (self.get(key),)

    def find(self, key: str) -> bytes:
        """The value, or b"" when there is no such key."""
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = str(self._folder / key)
        try:
            # On the way of every request, where pathlib would take five times as long.
            stat = os.stat(path)  # noqa: PTH116
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if stat.st_size > _MAX:
                raise ConfigurationError(f"{key!r} is larger than {_MAX} bytes", path=str(self._folder))
            cached = self._seen.get(key)
            if cached is None or cached[0] != stamp:
                cached = (stamp, Path(path).read_bytes().strip())
                self._seen[key] = cached
            return cached[1]
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except PermissionError:
            raise ConfigurationError(
                f"{key!r} cannot be read", path=str(self._folder), hint="check its owner"
            ) from None
