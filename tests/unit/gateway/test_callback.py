"""What a receiver's status means."""

import pytest

from herald_gateway.channels.base import ChannelDown, SendUnknown, Undeliverable
from herald_gateway.channels.callback import judge, seconds


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_taken(status: int) -> None:
    judge(status)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *[(status, ChannelDown) for status in (408, 425, 429, 500, 501, 502, 503, 599)],
        (504, SendUnknown),
        *[(status, Undeliverable) for status in (300, 301, 307, 400, 401, 403, 404, 409, 410, 413, 418, 451)],
    ],
)
def test_not_taken(status: int, meaning: type[Exception]) -> None:
    with pytest.raises(meaning, match=f"HTTP {status}"):
        judge(status)


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        (None, None),
        ("7", 7),
        ("0", 0),
        ("99999", 3_600),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 10, None),
        ("Sun, 22 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after(header: str | None, meant: float | None) -> None:
    assert seconds(header) == meant
    with pytest.raises(ChannelDown) as down:
        judge(503, header)
    assert down.value.retry_after == meant
