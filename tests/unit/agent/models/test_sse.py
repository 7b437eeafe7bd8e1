"""Server-sent events, however the network cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_agent.models.sse import EventReader, EventTooLarge


def read(*pieces: bytes) -> list[bytes]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\r", [b"a"]),
        (b"data: a\r\rdata: b\r\n\r\n.", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": comment\n\ndata: a\nid: 1\nevent: x\nretry: 5\n\n", [b"a"]),
        (b"data\n\n", [b""]),
        (b"data:  two\n\n", [b" two"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: never ended", []),
        (b"\n\n\n", []),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(stream: bytes, events: list[bytes]) -> None:
    assert read(stream) == events
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == events


@given(data=st.data(), stream=st.lists(st.sampled_from([b"data:", b" ", b"a", b"\n", b"\r", b"\r\n", b":", b"\xef"])))
def test_where_the_stream_is_cut_makes_no_difference(data: st.DataObject, stream: list[bytes]) -> None:
    whole = b"".join(stream)
    cut = data.draw(st.integers(0, len(whole)))
    assert read(whole[:cut], whole[cut:]) == read(whole)


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 65_536, b"data: " + b"x" * 65_536 + b"\n"])
def test_an_event_that_never_ends_is_refused(piece: bytes) -> None:
    with pytest.raises(EventTooLarge):
        read(*(piece for _ in range(100)))
