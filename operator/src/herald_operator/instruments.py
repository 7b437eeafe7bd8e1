"""The operator's metrics, under the names of herald_contracts.telemetry."""

from herald_contracts import telemetry
from herald_runtime.metrics import meter

_meter = meter("herald.operator")

writes = _meter.create_counter(telemetry.WRITES, description="Writes that the API server answered with success")
passes = _meter.create_counter(telemetry.PASSES, description="Looks at one deployment, by what became of them")
pass_seconds = _meter.create_histogram(telemetry.LOOK_SECONDS, unit="s", description="One look, writes included")
