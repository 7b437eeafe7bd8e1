"""Derived ids: equal for equal input in every process, different for everything else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_contracts.identity import conversation_id, message_id, reply_id, turn_id, user_key


def test_ids_are_pinned() -> None:
    # Another value here means that a replayed webhook is answered twice across an upgrade.
    assert message_id("hooks", "evt-1") == "m4ps63bhq4chsijjswhibbkv2ce"
    assert turn_id(message_id("hooks", "evt-1")) == "tht7m2a4vhcdtihuacsl4ufyglq"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c", None), ("a", "bc", None)),
        (("a", "b", "c"), ("a", "bc", None)),
        (("a", "b", None), ("a", "b", "x")),
    ],
)
def test_conversations_differ(one: tuple[str, str, str | None], other: tuple[str, str, str | None]) -> None:
    assert conversation_id(*one) != conversation_id(*other)


def test_an_absent_thread_is_the_main_one() -> None:
    assert conversation_id("a", "b", None) == conversation_id("a", "b", "")


def test_replies_of_one_turn_differ() -> None:
    assert reply_id("t1", 0) != reply_id("t1", 1)


@given(st.text(), st.text())
def test_every_id_is_a_safe_subject_token(a: str, b: str) -> None:
    for value in (conversation_id(a, b, None), message_id(a, b), user_key(a, b)):
        assert re.fullmatch(r"[cmu][a-z2-7]{26}", value)
