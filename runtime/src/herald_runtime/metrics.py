"""Metrics: OpenTelemetry instruments, read as Prometheus text.

One set of instruments, with the names of herald_contracts.telemetry; the exporter is a choice made here, once.
"""

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


def configure(component: str, namespace: str, name: str) -> None:
    """Set up the process's meter provider. Call once, at start, before any instrument records."""
    resource = Resource.create(
        {"service.name": f"herald-{component}", "herald.namespace": namespace, "herald.deployment": name}
    )
    seconds = View(instrument_name="*.duration", aggregation=ExplicitBucketHistogramAggregation(_SECONDS))
    metrics.set_meter_provider(
        MeterProvider(metric_readers=[PrometheusMetricReader()], resource=resource, views=[seconds])
    )


def meter(name: str) -> metrics.Meter:
    """Instruments may be created at import: they start to record once `configure` has run."""
    return metrics.get_meter(name)


def exposition() -> tuple[bytes, str]:
    """All metrics of this process as Prometheus text, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
