"""Whatever a model says, what leaves is bounded, well-formed Markdown, or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_agent.deciding.reply import MAX_CHARACTERS, clean, closed, reply
from herald_contracts.identity import reply_id
from herald_contracts.messages import Reply
from tests.unit.agent.values import NOW, message, turn


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("hello", "hello"),
        ("  hello\n\n", "hello"),
        ("a\0b", "ab"),
        ("\0", ""),
        ("a\x1b[31mb\x07", "a[31mb"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("tab\tstays", "tab\tstays"),
        ("bro\ufffdken", "broken"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("\ufffe\uffff", ""),
        ("👩‍👩‍👧 \u200bzero \u202ertl\u202c", "👩‍👩‍👧 \u200bzero \u202ertl\u202c"),
        ("", ""),
        (" \n\t ", ""),
        ("```py\nx\n```", "```py\nx\n```"),
    ],
)
def test_cleaning(said: str, kept: str) -> None:
    assert clean(said) == kept


@pytest.mark.parametrize("size", [MAX_CHARACTERS + 1, 1_000_000, 5_000_000])
@pytest.mark.parametrize("letter", ["x", "字", "🍵", "\0", '"'])
def test_a_megabyte_is_cut_with_a_note(size: int, letter: str) -> None:
    kept = clean("begin " + letter * size)
    if letter == "\0":
        # Most of it was nothing.
        assert kept.startswith("begin")
        return
    assert len(kept) <= MAX_CHARACTERS
    assert kept.startswith("begin")
    assert kept.endswith("\n\n[The answer was cut here: it became too long.]")


def test_a_reader_is_told_that_the_model_was_stopped() -> None:
    assert clean("half a", unfinished=True) == "half a\n\n[The answer was cut here: it became too long.]"
    assert clean("```\nx", unfinished=True).startswith("```\nx\n```\n\n[")
    assert clean("\0", unfinished=True) == ""


def test_what_just_fits_is_not_cut() -> None:
    assert clean("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS


def test_the_largest_reply_fits_into_a_message_of_nats() -> None:
    for letter in ("🍵", "字", '"', "\\", "\n."):
        text = clean(letter * MAX_CHARACTERS)
        wire = reply(turn(message()), message(), text, "answer", NOW).to_wire()
        assert len(wire) < 1_048_576


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no code", "no code"),
        ("```\nx", "```\nx\n```"),
        ("```\nx\n```", "```\nx\n```"),
        ("~~~\nx", "~~~\nx\n~~~"),
        ("````\n```\nx\n```\n````", "````\n```\nx\n```\n````"),
        ("```\nx\n```\n```\ny", "```\nx\n```\n```\ny\n```"),
    ],
)
def test_a_code_block_that_was_cut_is_closed(text: str, expected: str) -> None:
    assert closed(text) == expected


@given(st.text(st.characters(), max_size=500))
def test_any_text_can_be_stored_sent_and_read_again(said: str) -> None:
    kept = clean(said)
    assert "\0" not in kept
    assert clean(kept) == kept
    made = reply(turn(message()), message(), kept, "answer", NOW)
    assert Reply.from_wire(made.to_wire()) == made


def test_a_reply_is_the_same_whoever_makes_it_and_another_after_a_replay() -> None:
    written = message(thread="t")
    first = reply(turn(written), written, "x", "answer", NOW)
    assert first.id == reply(turn(written, attempts=7, adoptions=3), written, "y", "failure", NOW).id
    assert reply(turn(written, reply_number=1), written, "x", "answer", NOW).id == reply_id(turn(written).id, 1)
    assert (first.reply_to, first.thread, first.event_id) == (written.platform_message_id, "t", written.event_id)
