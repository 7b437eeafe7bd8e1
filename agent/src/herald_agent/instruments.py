"""The worker's metrics, under the names of herald_contracts.telemetry."""

from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Observation

from herald_contracts import telemetry
from herald_contracts.ledger import STATES, Counts
from herald_runtime.metrics import meter

_meter = meter("herald.agent")

intake = _meter.create_counter(telemetry.INTAKE, description="Stream entries read, by what became of them")
turns = _meter.create_counter(telemetry.TURNS, description="Turns that a worker stopped working on, by outcome")
turn_seconds = _meter.create_histogram(
    telemetry.TURN_SECONDS, unit="s", description="From acquiring a turn to its end or its next try"
)
in_flight = _meter.create_up_down_counter(telemetry.TURNS_IN_FLIGHT, description="Turns that this worker runs")
relayed = _meter.create_counter(telemetry.RELAYED, description="Replies made durable in the OUT stream")

_ledger: Counts | None = None


def show_ledger(counts: Counts | None) -> None:
    """What the ledger gauge shows from now on; None for a worker that does not speak for all of them."""
    global _ledger
    _ledger = counts


def _observe(_: CallbackOptions) -> Iterable[Observation]:
    if _ledger is None:
        return []
    return [Observation(int(getattr(_ledger, state)), {"state": state}) for state in STATES]


_meter.create_observable_gauge(
    telemetry.LEDGER, callbacks=[_observe], description="Accepted messages by state, as seen by the intake's holder"
)
