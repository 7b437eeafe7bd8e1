"""Which messages the model sees when not all fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_agent.models.fitting import fit, says_too_long, tokens_of
from herald_agent.models.ports import ChatMessage, ModelRefused

SYSTEM = ChatMessage("system", "be kind")


def history(count: int, words: int = 10) -> list[ChatMessage]:
    return [ChatMessage("user" if i % 2 == 0 else "assistant", f"word {i} " * words) for i in range(count)]


def test_all_is_kept_where_all_fits() -> None:
    messages = [SYSTEM, *history(5)]
    assert fit(messages, 10_000) == messages


def test_the_oldest_go_first_and_the_instructions_and_the_question_stay() -> None:
    messages = [SYSTEM, *history(100)]
    kept = fit(messages, 500)
    assert kept[0] == SYSTEM
    assert kept[1:] == messages[-len(kept) + 1 :]
    assert 2 < len(kept) < 100


def test_what_cannot_fit_by_any_count_is_refused_with_numbers() -> None:
    with pytest.raises(ModelRefused, match=r"about \d+ tokens, and 3072 fit"):
        fit([SYSTEM, ChatMessage("user", "hello " * 20_000)], 3_072)


def test_what_may_fit_is_left_to_the_server() -> None:
    question = ChatMessage("user", "hello " * 2_800)
    assert tokens_of(question.content) > 3_072
    assert fit([SYSTEM, *history(4), question], 3_072) == [SYSTEM, question]


@given(
    texts=st.lists(st.text(max_size=200), min_size=1, max_size=20),
    room=st.integers(128, 2_000),
)
def test_more_room_never_shows_less(texts: list[str], room: int) -> None:
    messages = [ChatMessage("user", text) for text in texts]
    try:
        less = fit(messages, room)
    except ModelRefused:
        return
    more = fit(messages, room * 2)
    assert less == messages[len(messages) - len(less) :]
    assert len(less) <= len(more)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        # True counts by SmolLM2's tokenizer: 25, 35, 34.
        ("The quick meeting was moved because several people could not attend, and the manager asked whether we "
         "might find another time next week. ", 19, 35),
        ("2026-11-22T15:20:03.037Z ERROR worker-3 refused", 20, 50),
        ("发布系统昨天晚上出现了故障,数据库连接池已经耗尽。", 25, 60),
        ("", 1, 1),
    ],
)  # fmt: skip
def test_the_estimate_is_near_the_truth(text: str, least: int, most: int) -> None:
    assert least <= tokens_of(text) <= most


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the prompt is too long: 9511 tokens, and the context has 2048", True),
        ("request (9511 tokens) exceeds the available context size (2048 tokens)", True),
        ("This model's maximum context length is 8192 tokens.", True),
        ("Error generating request: The sum of prompt length (4000), query length (0) and max_tokens (256) should "
         "not exceed max_num_tokens (2048)", True),
        ("scripted: overloaded", False),
        ("Request for unknown model: 'x' is not found", False),
        ("Socket closed", False),
        ("", False),
    ],
)  # fmt: skip
def test_servers_say_in_their_own_words_that_a_prompt_is_too_long(text: str, expected: bool) -> None:
    assert says_too_long(text) is expected
