"""How long to wait before a part that died is started again. Pure: time comes in, a delay goes out."""

from dataclasses import dataclass

FIRST = 0.2
LONGEST = 10.0
HEALTHY = 60.0  # a part that ran this long has earned a quick restart


@dataclass(frozen=True, slots=True)
class Backoff:
    """Immutable: `after(ran)` is the next one. `delay` is in seconds."""

    failures: int = 0

    @property
    def delay(self) -> float:
        return min(LONGEST, FIRST * 2.0 ** max(0, self.failures - 1)) if self.failures else 0.0

    def after(self, ran: float) -> "Backoff":
        """What follows when a part died that had been ready for `ran` seconds."""
        return Backoff(1 if ran >= HEALTHY else min(self.failures + 1, 30))
