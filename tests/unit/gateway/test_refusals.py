"""What a refused caller hears, and that a flood of refusals stays a handful of log lines."""

import json

import pytest
from opentelemetry import metrics
from structlog.testing import capture_logs

from herald_gateway.channels.base import (
    DuplicateHeader,
    Forbidden,
    Malformed,
    Refused,
    TooLarge,
    TooMany,
    Unauthenticated,
    WrongType,
)
from herald_gateway.measurements import Measurements
from herald_gateway.refusals import Refusals, body_of


@pytest.mark.parametrize(
    ("refusal", "status", "answer"),
    [
        (Unauthenticated("signature_wrong"), 401, {"error": "unauthenticated"}),
        (Unauthenticated("timestamp_out_of_range", field="x"), 401, {"error": "unauthenticated"}),
        (Malformed("field_type", field="sender.id"), 400, {"error": "field_type", "field": "sender.id"}),
        (DuplicateHeader(), 400, {"error": "duplicate_header"}),
        (Forbidden("not_yours"), 403, {"error": "not_yours"}),
        (TooLarge("body_too_large"), 413, {"error": "body_too_large"}),
        (WrongType("content_type"), 415, {"error": "content_type"}),
        (TooMany("busy"), 429, {"error": "busy"}),
        (Refused("teapot", status=418), 418, {"error": "teapot"}),
    ],
)
def test_the_answer(refusal: Refused, status: int, answer: dict[str, str]) -> None:
    assert refusal.status == status
    assert json.loads(body_of(refusal)) == answer


def test_all_are_counted_and_few_are_logged() -> None:
    now = 100.0
    measurements = Measurements(metrics.get_meter("test"))
    refusals = Refusals(measurements, clock=lambda: now)
    with capture_logs() as lines:
        for _ in range(1_000):
            refusals.count("hook", "signature_wrong", 401, "203.0.113.9")
        refusals.count("hook", "host_header", 400, "203.0.113.9")
        now = 101.0
        refusals.count("hook", "signature_wrong", 401, "203.0.113.9")
    assert measurements.refused.values == {("hook", "signature_wrong"): 1_001, ("hook", "host_header"): 1}
    assert [(line["reason"], line["unlogged_before"]) for line in lines] == [
        ("signature_wrong", 0),
        ("host_header", 0),
        ("signature_wrong", 999),
    ]
