"""The state folder: everything that a running Herald keeps, in one place that a person can name and delete.

Two kinds of notes live in it besides the servers' own data: what was chosen once and must stay (ports, sizes), and
a snapshot of what runs, which `herald status` and `herald down` read. Both are replaced as a whole, never edited.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from herald_cli import children
from herald_cli.processes import Process
from herald_cli.servers.program import File
from herald_contracts.errors import ConfigurationError, PermanentError

DEFAULT = Path(".herald")

Condition = Literal[
    "waiting", "preparing", "starting", "ready", "unready", "restarting", "refused", "failed", "stopping", "stopped"
]
Phase = Literal["starting", "running", "stopping", "stopped", "failed"]


class AlreadyRunning(PermanentError):
    """Another `herald up` holds this state folder."""

    def __init__(self, folder: Path, pid: int | None, *, changed: str = "") -> None:
        who = f"pid {pid}" if pid else "another process"
        text = f"Herald already runs from {folder} ({who})"
        if changed:
            text += f"\n  with another file: `herald down`, then `herald up -f {changed}` applies this one"
        super().__init__(text)
        self.pid = pid


class NotRunning(PermanentError):
    """There is nothing to talk to in this state folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"Herald does not run from {folder}")


class Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Component(Note):
    """One part, as a person sees it. `started` is in clock ticks since boot and makes `pid` unmistakable."""

    name: str
    state: Condition = "waiting"
    pid: int | None = None
    started: int | None = None
    since: datetime | None = Field(default=None, description="when its process started, or its task ended")
    restarts: int = 0
    address: str = ""
    last_error: str = ""
    litter: str = ""
    seconds: float | None = Field(default=None, description="from its start until it was ready, the last time")
    task: bool = Field(default=False, description="something done once, not a process")

    @property
    def process(self) -> Process | None:
        return Process(self.pid, self.started) if self.pid and self.started else None


class Snapshot(Note):
    """What one `herald up` runs, rewritten at every change."""

    version: Literal[1] = 1
    namespace: str
    name: str
    file: str
    digest: str
    revision: str
    pid: int
    started: int
    since: datetime
    phase: Phase = "starting"
    error: str = ""
    exit_code: int = 0
    notes: tuple[str, ...] = Field(default=(), description="what a person should know about this start")
    web: str = Field(default="", description="address of the chat page")
    gateway: str = Field(default="", description="address of the gateway")
    components: tuple[Component, ...] = ()

    @property
    def process(self) -> Process:
        return Process(self.pid, self.started)


class Choices(Note):
    """Made at the first start and kept: addresses stay the same, and nothing that holds messages gets smaller."""

    version: Literal[1] = 1
    id: str = Field(default_factory=lambda: secrets.token_hex(5), description="tells our files in /dev/shm apart")
    deployment: str = Field(default="", description="namespace/name whose messages are kept here")
    ports: dict[str, int] = Field(default_factory=dict)
    storage: int | None = Field(default=None, description="bytes that the streams may hold together")


class StateFolder:
    """Paths of one state folder, its lock and its notes."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.logs = self.root / "logs"
        self.settings = self.root / "settings"
        self.secrets = self.root / "secrets"
        self.credentials = self.root / "credentials"
        self.snapshot_file = self.root / "state.json"
        self.choices_file = self.root / "choices.json"
        self._lock_file = self.root / "lock"

    def server(self, name: str) -> Path:
        """The folder that belongs to one server alone."""
        return self.root / name

    def create(self) -> None:
        """Make the folder, for its owner alone. Raises ConfigurationError where that cannot be."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.logs, self.settings, self.secrets, self.credentials):
                folder.mkdir(exist_ok=True, mode=0o700)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied", str(self.root))
        except OSError as e:
            raise children.unusable(e, self.root) from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder until the end, or until we die: the kernel lets go of it then. Raises AlreadyRunning."""
        handle = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(self.root, self._holder()) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    def refuse_second(self, file: Path, digest: str) -> None:
        """Raise AlreadyRunning if a Herald runs from here; it says so when `file` is not what that one was given."""
        if self.held():
            snapshot = self.snapshot()
            changed = snapshot is not None and snapshot.digest != digest
            raise AlreadyRunning(self.root, self._holder(), changed=str(file) if changed else "")

    def held(self) -> bool:
        """Whether some `herald up` runs from here now."""
        try:
            handle = os.open(self._lock_file, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as e:
            raise children.unusable(e, self._lock_file) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(handle)

    def _holder(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int(self._lock_file.read_text())
        return None

    def write_snapshot(self, snapshot: Snapshot) -> None:
        children.write(File(self.snapshot_file, snapshot.model_dump_json(indent=1)))

    def snapshot(self) -> Snapshot | None:
        """The last one written, whether its Herald still runs or not; None when there is none to read."""
        try:
            return Snapshot.model_validate_json(self.snapshot_file.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None
        except OSError as e:
            raise children.unusable(e, self.snapshot_file) from None

    def running(self) -> Snapshot:
        """The snapshot of the Herald that runs from here. Raises NotRunning."""
        snapshot = self.snapshot() if self.held() else None
        if snapshot is None or not snapshot.process.alive():
            raise NotRunning(self.root)
        return snapshot

    def choices(self) -> Choices:
        """What was chosen before, or nothing. Raises ConfigurationError for a file that somebody broke."""
        try:
            return Choices.model_validate_json(self.choices_file.read_bytes())
        except FileNotFoundError:
            return Choices()
        except (ValidationError, json.JSONDecodeError):
            raise ConfigurationError(
                "cannot be read", path=str(self.choices_file), hint="delete it: ports will be chosen anew"
            ) from None

    def keep(self, choices: Choices) -> None:
        children.write(File(self.choices_file, choices.model_dump_json(indent=1)))
