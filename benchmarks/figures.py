"""The statistics, pure: what is made of the samples, and nothing that takes one.

Percentiles are nearest-rank (a value that really occurred). A ratio is that of the two medians, so that a reader
can check it against the figures beside it; its spread is the range of the ratios of each round, whose two sides ran
right after each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


def median(values: Sequence[float]) -> float:
    """Raises ValueError when empty."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` percent (0-100] of the values do not exceed. ValueError when empty."""
    if not values:
        raise ValueError("no values")
    if not 0 < share <= 100:
        raise ValueError(f"{share} is not in (0, 100]")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number over some rounds. `low` and `high` are the range over the rounds."""

    value: float
    low: float
    high: float


def over_rounds(values: Sequence[float]) -> Figure:
    """Median and range. Raises ValueError when empty."""
    return Figure(median(values), min(values), max(values))


def ratio(ours: Sequence[float], anchor: Sequence[float]) -> Figure:
    """Ours divided by the anchor's, round by round paired. ValueError when they do not pair or an anchor is 0."""
    if len(ours) != len(anchor):
        raise ValueError(f"{len(ours)} rounds of ours, {len(anchor)} of the anchor")
    if any(value <= 0 for value in anchor):
        raise ValueError("an anchor of 0 has no ratio")
    rounds = [a / b for a, b in zip(ours, anchor, strict=True)]
    return Figure(median(ours) / median(anchor), min(rounds), max(rounds))


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds."""

    count: int
    p50: float
    p99: float
    highest: float


def latency(seconds: Sequence[float]) -> Latency:
    """Raises ValueError when empty."""
    return Latency(
        len(seconds),
        percentile(seconds, 50) * 1e3,
        percentile(seconds, 99) * 1e3,
        max(seconds) * 1e3,
    )
