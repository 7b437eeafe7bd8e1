"""What counts as a request to remember, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_agent.deciding.commands import confirmation, remember, without_mention
from herald_contracts.messages import Mention

HERALD = (Mention(id="bot", name="Herald", agent=True),)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("remember that I like tea", "I like tea"),
        ("Remember that I like tea.", "I like tea."),
        ("  REMEMBER THAT x", "x"),
        ("remember: the door code is 42", "the door code is 42"),
        ("Remember:x", "x"),
        ("remember：全角", "全角"),
        ("please remember that it rains", "it rains"),
        ("Please remember: it rains", "it rains"),
        ("remember that\nit rains\ntoday", "it rains\ntoday"),
        ("记住我喜欢茶", "我喜欢茶"),
        ("请记住：我喜欢茶", "我喜欢茶"),
        ("请帮我记住，我喜欢茶", "我喜欢茶"),
        ("記住 我喜歡茶", "我喜歡茶"),
        ("@Herald remember that I like tea", "I like tea"),
        ("@Herald, remember: x", "x"),
        ("@Herald @Herald 记住 x", "x"),
        ("remember that 🍵 and \u202eRTL\u202c are fine", "🍵 and \u202eRTL\u202c are fine"),
    ],
)
def test_requests(content: str, fact: str) -> None:
    assert remember(content, HERALD) == fact


@pytest.mark.parametrize(
    "content",
    [
        "",
        "remember",
        "remember that",
        "remember that   ",
        "remember:",
        "do you remember that evening",
        "remember that evening in Paris?",
        "remember to call me",
        "remember thatched roofs",
        "I remember that",
        "rememberthat x",
        "记住",
        "你记住了我的名字吗",
        "记住我的名字了吗？",
        "@Somebody remember that I like tea",
        "@Heraldremember",
    ],
)
def test_what_is_no_request(content: str) -> None:
    assert remember(content, HERALD) is None


def test_only_the_agents_mention_is_set_aside() -> None:
    mentions = (*HERALD, Mention(id="u", name="Ann"))
    assert without_mention("@Herald @Ann hi", mentions) == "@Ann hi"
    assert without_mention("@Ann @Herald hi", mentions) == "@Ann @Herald hi"


@given(st.text(max_size=200))
def test_any_text(content: str) -> None:
    fact = remember(content, HERALD)
    assert fact is None or (fact and fact == fact.strip() and confirmation(fact))
