"""What identifies a step, and what becomes of one that was cut off."""

import pytest

from herald_agent.deciding.amending import RECALLED, new_content
from herald_agent.deciding.journal import Found, UnknownOutcome, output_of, step
from tests.unit.agent.values import message


def test_equal_inputs_are_the_same_step_and_others_are_not() -> None:
    first = step("t", 1, "model", [["user", "hi"]], idempotent=True)
    assert first == step("t", 1, "model", [["user", "hi"]], idempotent=True)
    assert len(first.input_hash) == 64
    for other in (
        step("t", 1, "model", [["user", "ho"]], idempotent=True),
        step("t", 1, "tool", [["user", "hi"]], idempotent=True),
    ):
        assert other.input_hash != first.input_hash


def test_any_text_can_be_hashed() -> None:
    assert step("t", 1, "model", "\ud800\0🍵", idempotent=True).input_hash


@pytest.mark.parametrize(
    ("found", "idempotent", "expected"),
    [
        (Found(None, None, ours=False), True, None),
        (Found(None, None, ours=False), False, None),
        (Found("started", None, ours=True), False, None),
        (Found("started", None, ours=False), True, None),
        (Found("done", {"text": "x"}, ours=False), True, {"text": "x"}),
        (Found("done", {"text": "x"}, ours=False), False, {"text": "x"}),
    ],
)
def test_run_or_use_again(found: Found, idempotent: bool, expected: dict[str, str] | None) -> None:
    assert output_of(step("t", 1, "tool", "x", idempotent=idempotent), found) == expected


def test_what_must_not_happen_twice_and_was_cut_off_is_for_a_person() -> None:
    with pytest.raises(UnknownOutcome, match=r"step 2 \(tool\)"):
        output_of(step("t", 2, "tool", "x", idempotent=False), Found("started", None, ours=False))


@pytest.mark.parametrize(("kind", "content"), [("edit", "after"), ("recall", RECALLED)])
def test_what_a_past_message_reads_from_now_on(kind: str, content: str) -> None:
    assert new_content(message(kind=kind, content="after", target="p")) == content
