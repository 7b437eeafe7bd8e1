"""The scripted model does word for word what its directives say."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_agent.models import script
from herald_agent.models.script import End, Fail, Hang, Say, Step


def played(message: str, max_tokens: int = 256, attempt: int = 1) -> list[Step]:
    return list(script.play(script.read(message), max_tokens, attempt))


@pytest.mark.parametrize(
    ("message", "steps"),
    [
        ("hi", [Say(0, b"echo:"), Say(0, b" hi"), End("stop", 2)]),
        ("a b\nc", [Say(0, b"echo:"), Say(0, b" a b\nc"), End("stop", 4)]),
        ("", [Say(0, b"echo:"), End("stop", 1)]),
        ("[[first=0.3]] hi", [Say(0.3, b"echo:"), Say(0, b" hi"), End("stop", 2)]),
        ("hi [[delay=0.02]] you", [Say(0, b"echo:"), Say(0.02, b" hi"), Say(0.02, b"  you"), End("stop", 3)]),
        ("x [[tokens=5]]", [Say(0, b"echo:"), Say(0, b" x echo: x echo:"), End("stop", 5)]),
        ("x [[tokens=1]]", [Say(0, b"echo:"), End("stop", 1)]),
        ("[[empty]]", [End("stop", 0)]),
        ("[[huge=3]]", [Say(0, b"xxx"), End("stop", 1)]),
        ("[[nul]]", [Say(0, b"one"), Say(0, b" \x00two three"), End("stop", 3)]),
        ("[[invalid-utf8]]", [Say(0, b"one"), Say(0, b" \xff\xfe three"), End("stop", 3)]),
        ("[[error]]", [Fail(0, True, "scripted: overloaded")]),
        ("[[refuse]]", [Fail(0, False, "scripted: this request can never work")]),
        ("a b [[error-after=1]]", [Say(0, b"echo:"), Fail(0, True, "scripted: broke off")]),
        ("[[hang]] [[first=1]]", [Hang()]),
        ("a b [[hang-after=2]]", [Say(0, b"echo:"), Say(0, b" a"), Hang()]),
        ("[[unknown=1]] [[delay]]x", [Say(0, b"echo:"), Say(0, b" [[unknown=1]] x"), End("stop", 3)]),
    ],
)
def test_a_message_decides_every_step(message: str, steps: list[Step]) -> None:
    assert played(message) == steps


def test_an_answer_longer_than_asked_for_is_cut() -> None:
    assert played("[[tokens=9]] [[delay=0.1]] x", max_tokens=2) == [Say(0, b"echo:"), Say(0.1, b" x"), End("length", 2)]


def test_an_answer_exactly_as_long_as_asked_for_is_complete() -> None:
    assert played("x", max_tokens=2)[-1] == End("stop", 2)


def test_endless_goes_on_past_any_limit_and_never_without_a_pause() -> None:
    steps = list(islice(script.play(script.read("[[endless]]"), 4), 1_000))
    assert all(isinstance(step, Say) and step.data for step in steps)
    assert {step.after for step in steps[1:] if isinstance(step, Say)} == {0.001}


def test_a_message_may_fail_its_first_times() -> None:
    assert [played("[[fail=2]] hi", attempt=n)[-1] for n in (1, 2, 3)] == [
        Fail(0, True, "scripted: overloaded"),
        Fail(0, True, "scripted: overloaded"),
        End("stop", 2),
    ]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n", "one"),
        ("<|im_start|>user\none<|im_end|>\n<|im_start|>user\ntwo\n<|im_end|>\n<|im_start|>assistant\n", "two\n"),
        ("<|im_start|>user\ncut", "cut"),
        ("no markup", "no markup"),
        ("", ""),
    ],
)
def test_the_last_user_message_is_found_in_a_prompt(prompt: str, message: str) -> None:
    assert script.last_user_message(prompt) == message


@given(message=st.text() | st.from_regex(r"(\[\[[a-z-]{1,12}(=[0-9.]{1,5})?\]\] ?){1,4}"), limit=st.integers(1, 20))
def test_any_message_can_be_played(message: str, limit: int) -> None:
    steps = list(islice(script.play(script.read(message), limit), 200))
    assert isinstance(steps[-1], End | Fail | Hang) or len(steps) == 200
    assert sum(isinstance(step, End | Fail | Hang) for step in steps) <= 1
