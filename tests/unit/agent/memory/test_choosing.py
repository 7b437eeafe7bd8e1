"""The pure decisions of memory."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_agent.memory.choosing import FACT_CHARACTERS, checked, choose, gist, next_size, tidy
from herald_agent.memory.ports import Fact, FactRefused
from herald_contracts.identity import fact_id, user_key


def facts(names: str) -> list[Fact]:
    """One fact per letter; a later letter of the alphabet is a newer fact."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [Fact(name, name, start + timedelta(seconds=ord(name))) for name in names]


@pytest.mark.parametrize(
    ("fresh", "found", "limit", "chosen"),
    [
        ("", "", 5, ""),
        ("", "abc", 5, "abc"),
        ("", "abcdef", 5, "abcde"),
        ("xyz", "", 5, "zyx"),
        # Fresh facts first, newest first, whatever their order was; then what was found, nearest first.
        ("yz", "ba", 5, "zyba"),
        # No more than half, rounded up, are fresh while there is something found.
        ("uvwxyz", "abcdef", 5, "zyxab"),
        ("uvwxyz", "abcdef", 4, "zyab"),
        # Places nobody else takes go to fresh ones.
        ("uvwxyz", "a", 5, "zyxaw"),
        ("uvwxyz", "", 5, "zyxwv"),
        # A fact that is both is there once.
        ("yz", "zay", 5, "zya"),
        ("yz", "zab", 1, "z"),
    ],
)
def test_choose(fresh: str, found: str, limit: int, chosen: str) -> None:
    assert "".join(fact.id for fact in choose(facts(fresh), facts(found), limit)) == chosen


_letters = st.text(alphabet="abcdefghij", max_size=10)


@given(_letters, _letters, st.integers(1, 12))
def test_choose_wastes_no_place_and_repeats_nothing(fresh: str, found: str, limit: int) -> None:
    chosen = [fact.id for fact in choose(facts(fresh), facts(found), limit)]
    assert len(chosen) == len(set(chosen)) == min(limit, len(set(fresh + found)))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("I like tea", "I like tea"),
        (" I\n\nlike \t tea\u3000", "I like tea"),
        ("a\x00b\x1b[31mc", "ab[31mc"),
        ("x" * (FACT_CHARACTERS + 1), "x" * FACT_CHARACTERS),
        ("x" * (FACT_CHARACTERS - 1) + " y", "x" * (FACT_CHARACTERS - 1)),
        ("a\ud800b", "ab"),
    ],
)
def test_tidy(text: str, kept: str) -> None:
    assert tidy(text) == kept


@given(st.text(alphabet=st.characters()))
def test_what_is_tidy_stays_so_and_can_be_stored(text: str) -> None:
    try:
        kept = tidy(text)
    except FactRefused:
        return
    assert tidy(kept) == kept
    assert "\x00" not in kept
    assert len(kept.encode()) <= 4 * FACT_CHARACTERS


@pytest.mark.parametrize(
    ("text", "seconds", "searched"),
    [
        ("", 0.05, ""),
        (" \n ", 0.05, ""),
        ("what is  my\ndog called?", 0.05, "what is my dog called?"),
        ("b" * 80, 0.05, "b" * 80),
        ("b" * 40 + "m" * 5_000 + "e" * 40, 0.05, "b" * 40 + " " + "e" * 40),
        ("b" * 39 + " and much more " + "e" * 39 + "!", 0.05, "b" * 39 + " " + "e" * 39 + "!"),
        # Time buys length; none is still enough for a short question.
        ("b" * 1_600, 1.0, "b" * 1_600),
        ("b" * 80, 0.001, "b" * 80),
        ("b" * 9_000, 30.0, "b" * 1_000 + " " + "b" * 1_000),
        ("  \n" * 50 + "b" * 40 + " " * 200_000 + "e" * 40, 0.05, "b" * 40 + " " + "e" * 40),
        # A Chinese character is about a word.
        ("我" * 20, 0.05, "我" * 20),
        ("我" * 10 + "们" * 500 + "你" * 10, 0.05, "我" * 10 + " " + "你" * 10),
    ],
)
def test_gist(text: str, seconds: float, searched: str) -> None:
    assert gist(text, seconds) == searched


@given(st.text(alphabet=st.characters()), st.floats(0.001, 5))
def test_gist_has_a_bound(text: str, seconds: float) -> None:
    assert len(gist(text * 50, seconds)) <= max(80, seconds * 1_600) + 1


@pytest.mark.parametrize(
    ("size", "seconds", "following"),
    [(1, 0.001, 2), (16, 0.001, 32), (32, 0.001, 32), (4, 0.015, 4), (4, 0.03, 2), (1, 0.5, 1), (3, 0.5, 1)],
)
def test_batches_grow_on_a_fast_embedder_only(size: int, seconds: float, following: int) -> None:
    assert next_size(size, seconds) == following


def test_fact_ids_are_pinned() -> None:
    # Another value here means that what was told before an upgrade is remembered twice after it.
    assert fact_id(user_key("web", "anna"), "I like tea") == "fpengqniqrrqblpfss6bijpj74y"


@given(st.text(), st.text())
def test_every_user_key_is_accepted(channel: str, sender: str) -> None:
    key = user_key(channel, sender)
    assert checked(key) == key


@given(st.text(alphabet=st.characters(), max_size=40).filter(lambda key: not re.fullmatch("u[a-z2-7]{26}", key)))
def test_nothing_else_is_and_it_is_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match=r"^not a user key$"):
        checked(key)
