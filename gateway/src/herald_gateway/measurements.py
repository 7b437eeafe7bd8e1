"""The gateway's figures, under the names of herald_contracts.telemetry.

Counters are plain integers that the exporter reads when it is asked: an OpenTelemetry counter costs 6 us a
call, which on the webhook route is as much as verifying and parsing together. Histograms have no such form.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from herald_contracts import telemetry


class Tally:
    """A counter with a fixed set of attribute keys."""

    def __init__(self, meter: Meter, name: str, keys: Sequence[str], description: str) -> None:
        self._keys = tuple(keys)
        self.values: Counter[tuple[str, ...]] = Counter()
        meter.create_observable_counter(name, callbacks=[self._observe], description=description)

    def add(self, *values: str) -> None:
        """Count one; `values` in the order of the keys."""
        self.values[values] += 1

    def _observe(self, _: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(count, dict(zip(self._keys, values, strict=True)))
            for values, count in list(self.values.items())
        ]


class Measurements:
    """One per process."""

    def __init__(self, meter: Meter) -> None:
        self.requests = Tally(
            meter, telemetry.REQUESTS, ("channel", "outcome"), "Webhook requests by what became of them"
        )
        self.refused = Tally(meter, telemetry.REFUSED, ("channel", "reason"), "Requests and connections refused")
        self.accepted = Tally(
            meter, telemetry.ACCEPTED, ("channel", "duplicate"), "Messages made durable; duplicates were so already"
        )
        self.deliveries = Tally(
            meter, telemetry.DELIVERIES, ("channel", "outcome"), "Delivery attempts by what became of them"
        )
        self._accept = meter.create_histogram(
            telemetry.ACCEPT_SECONDS, unit="s", description="From the request to the durable acknowledgement"
        )
        self._delivery = meter.create_histogram(
            telemetry.DELIVERY_SECONDS, unit="s", description="One call of the platform"
        )
        self._labels: dict[str, dict[str, str]] = {}

    def accept_took(self, channel: str, seconds: float) -> None:
        self._accept.record(max(0.0, seconds), self._label(channel))

    def delivery_took(self, channel: str, seconds: float) -> None:
        if math.isfinite(seconds):
            self._delivery.record(max(0.0, seconds), self._label(channel))

    def _label(self, channel: str) -> dict[str, str]:
        label = self._labels.get(channel)
        if label is None:
            label = self._labels[channel] = {"channel": channel}
        return label
