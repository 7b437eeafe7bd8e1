"""Who writes the same thing again and again has somebody against it: another controller, or an autoscaler.

And when to speak: a pass that wrote says nothing, because what it saw is about the time before, but where every pass
writes something has to be said all the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from herald_operator.queueing import Key

MOST = 3  # passes in a row that write before one speaks, and times that one thing is written before it is a fight
WINDOW = 60.0  # seconds in which they count

Write = tuple[str, str, str]  # kind, name, and what was written


@dataclass(frozen=True, slots=True)
class Note:
    """`early`: it is too early to speak, the next pass may be at rest. `children`: kinds and names of what does not
    stay as written; `again`: seconds after which that may be over.
    """

    early: bool
    children: tuple[tuple[str, str], ...] = ()
    again: float | None = None


@dataclass(slots=True)
class _History:
    passes: int = 0
    times: dict[Write, tuple[float, ...]] = field(default_factory=dict)


class Contest:
    """What was written lately, for each deployment that is not at rest."""

    def __init__(self) -> None:
        self._known: dict[Key, _History] = {}

    def note(self, key: Key, written: Iterable[Write], now: float, *, moving: bool) -> Note:
        """After a pass at `now` (seconds of any clock). `moving`: it wrote, be it no child."""
        history = self._known.setdefault(key, _History())
        history.passes = history.passes + 1 if moving else 0
        for write in written:
            history.times[write] = (*history.times.get(write, ()), now)[-MOST:]
        history.times = {write: times for write, times in history.times.items() if now - times[-1] < WINDOW}
        fights = {w: t for w, t in history.times.items() if len(t) == MOST and now - t[0] < WINDOW}
        if not history.passes and not history.times:
            self.forget(key)
        return Note(
            early=0 < history.passes < MOST,
            children=tuple(sorted({(kind, name) for kind, name, _ in fights})),
            again=min((t[0] + WINDOW - now for t in fights.values()), default=None),
        )

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)
