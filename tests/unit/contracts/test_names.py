"""Names and streams: what the server is told, and what may not happen to it."""

import pytest

from herald_contracts.errors import ConfigurationError
from herald_contracts.streams import topology
from herald_contracts.subjects import Names

NAMES = Names("team-a", "support")


@pytest.mark.parametrize("name", ["", "A", "a.b", "a*", "-a", "a" * 64, "a b"])
def test_only_labels_become_subjects(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a DNS label"):
        Names("default", name)


def test_two_deployments_never_share_a_stream() -> None:
    assert Names("a-b", "c").in_stream != Names("a", "b-c").in_stream


def test_what_was_accepted_is_never_dropped() -> None:
    by_name = {s.name: s for s in topology(NAMES, web_channels=("chat",)).streams}
    for stream in (NAMES.in_stream, NAMES.out_stream, NAMES.receipt_stream):
        assert by_name[stream].discard_new
        assert by_name[stream].max_age > 7 * 86_400


def test_the_transcript_is_copied_from_both_directions() -> None:
    transcript = next(s for s in topology(NAMES, web_channels=("chat",)).streams if s.name == NAMES.web_stream)
    assert [s.filter_subject for s in transcript.sources] == [
        "herald.team-a.support.in.live.chat.*",
        "herald.team-a.support.out.chat.*",
    ]


def test_no_transcript_without_a_chat_page() -> None:
    assert NAMES.web_stream not in {s.name for s in topology(NAMES).streams}


def test_the_storage_given_is_the_storage_used() -> None:
    made = topology(NAMES, web_channels=("chat",), storage=2**30)
    assert sum(s.max_bytes for s in made.streams) + sum(b.max_bytes for b in made.buckets) <= 2**30
