"""The log files of local mode: one per component, JSON lines whatever the component itself writes, rotated by size.

Herald's own services write JSON already and pass through; a server's text line becomes the value of `event`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MAX_BYTES = 10 * 2**20
KEPT = 3
MAX_LINE = 64 * 1024

# How the servers mark a line's level: nats-server `[ERR]`, PostgreSQL `FATAL:`, Triton `2026-... E 1234 file.cc`.
_ERROR = r"\[(FTL|ERR)\]|\b(ERROR|FATAL|PANIC):|^\S+Z [EF] \d|^[EF]\d{4} |^Traceback|^\w+(Error|Exception)\b"
_LEVELS = (
    (re.compile(_ERROR), "error"),
    (re.compile(r"\[WRN\]|\bWARNING:|^\S+Z W \d|^W\d{4} "), "warning"),
    (re.compile(r"\[(DBG|TRC)\]|\bDEBUG\d?:"), "debug"),
)


def entry(component: str, line: str, now: datetime) -> str:
    """One line of a component as one line of JSON with `timestamp`, `level`, `component` and `event`. Pure."""
    text = line.rstrip("\r\n")
    if text.startswith("{"):
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, dict) and isinstance(value.get("event"), str):
            # The component's own name for itself does not tell one worker from another.
            return _line({"timestamp": _time(now), "level": "info", **value, "component": component})
    return _line({"component": component, "event": text, "level": level(text), "timestamp": _time(now)})


def note(component: str, event: str, importance: str, now: datetime) -> str:
    """A line of Herald's own about a component."""
    return _line(
        {"component": component, "event": event, "level": importance, "logger": "herald", "timestamp": _time(now)}
    )


def level(text: str) -> str:
    """What a server's own text line says about its importance."""
    return next((name for pattern, name in _LEVELS if pattern.search(text)), "info")


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _time(now: datetime) -> str:
    return now.astimezone(UTC).isoformat().replace("+00:00", "Z")


class RotatingLog:
    """Appends lines to `<name>.log`; when that is full it becomes `.1`, which becomes `.2`, and so on."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self.path = path
        self._max = max_bytes
        self._kept = kept
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._open()

    def _open(self) -> None:
        self._file = self.path.open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, line: str) -> None:
        """Append one line. A full disk loses the line: logging must not be what stops Herald."""
        data = line.encode("utf-8", "replace") + b"\n"
        try:
            if self._size and self._size + len(data) > self._max:
                self._rotate()
            self._file.write(data)
        except OSError:
            return
        self._size += len(data)

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._kept - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            if older.exists():
                older.replace(self.path.with_name(f"{self.path.name}.{number + 1}"))
        self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        self._open()

    def close(self) -> None:
        self._file.close()


class Lines:
    """Cuts a stream of bytes into lines; a line longer than MAX_LINE comes in pieces instead of in memory."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
        while len(self._rest) > MAX_LINE:
            yield self._rest[:MAX_LINE].decode("utf-8", "replace")
            self._rest = self._rest[MAX_LINE:]

    def end(self) -> Iterator[str]:
        if self._rest:
            yield self._rest.decode("utf-8", "replace")
        self._rest = b""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a log file. `raw` is the line as it stands."""

    timestamp: str
    level: str
    component: str
    event: str
    fields: tuple[tuple[str, str], ...]
    raw: str


_OWN = frozenset({"timestamp", "level", "component", "event", "logger"})


def parse(raw: str) -> Entry:
    """Read a line that `entry` or a service wrote; anything else is all event. Pure."""
    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return Entry("", "info", "", raw, (), raw)
    rest = tuple((k, v if isinstance(v, str) else json.dumps(v)) for k, v in value.items() if k not in _OWN)
    return Entry(
        str(value.get("timestamp", "")),
        str(value.get("level", "info")),
        str(value.get("component", "")),
        str(value.get("event", "")),
        rest,
        raw,
    )


def files_of(folder: Path, component: str) -> list[Path]:
    """The log files of one component, oldest first."""
    numbered = [path for path in folder.glob(f"{component}.log.*") if path.suffix[1:].isdigit()]
    rotated = sorted(numbered, key=lambda path: int(path.suffix[1:]), reverse=True)
    current = folder / f"{component}.log"
    return [*rotated, *([current] if current.exists() else [])]


def components(folder: Path) -> list[str]:
    """Names of those that have written anything."""
    return sorted(path.name.removesuffix(".log") for path in folder.glob("*.log"))


def last_lines(folder: Path, component: str, count: int) -> list[Entry]:
    """The newest `count` lines of one component, oldest first."""
    lines: list[str] = []
    for path in reversed(files_of(folder, component)):
        lines = [*path.read_text(encoding="utf-8", errors="replace").splitlines(), *lines]
        if len(lines) >= count:
            break
    return [parse(line) for line in lines[-count:]]
