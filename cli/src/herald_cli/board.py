"""The one place that knows how every part is doing; whoever shows it is told at each change."""

from collections.abc import Callable, Iterable
from typing import Any

from herald_cli.state import Component, Phase, Snapshot


class Board:
    """Holds the current snapshot; `changed` is called with every new one."""

    def __init__(self, first: Snapshot, changed: Iterable[Callable[[Snapshot], None]] = ()) -> None:
        self._snapshot = first
        self._changed = list(changed)

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    def tell(self, listener: Callable[[Snapshot], None]) -> None:
        """Add a listener; it is told at once."""
        self._changed.append(listener)
        listener(self._snapshot)

    def component(self, name: str) -> Component:
        return next(c for c in self._snapshot.components if c.name == name)

    def update(self, name: str, **changes: Any) -> None:
        """Change one component."""
        components = tuple(c.model_copy(update=changes) if c.name == name else c for c in self._snapshot.components)
        self._set(self._snapshot.model_copy(update={"components": components}))

    def phase(self, phase: Phase, *, error: str = "", exit_code: int = 0) -> None:
        """Change how the whole is doing."""
        self._set(self._snapshot.model_copy(update={"phase": phase, "error": error, "exit_code": exit_code}))

    def _set(self, snapshot: Snapshot) -> None:
        if snapshot == self._snapshot:
            return
        self._snapshot = snapshot
        for listener in self._changed:
            listener(snapshot)
