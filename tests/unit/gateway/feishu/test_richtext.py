"""Rich text, element by element, and whatever else may come instead."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_gateway.channels.feishu.richtext import from_markdown, to_markdown


def text(value: str, *style: str) -> dict[str, Any]:
    return {"tag": "text", "text": value, "style": list(style)}


@pytest.mark.parametrize(
    ("paragraph", "markdown"),
    [
        ([text("plain")], "plain"),
        ([text("a "), text("b", "bold"), text(" c")], "a **b** c"),
        ([text("x", "bold", "italic")], "***x***"),
        ([text("x", "lineThrough")], "~~x~~"),
        ([text("x", "underline")], "<u>x</u>"),
        ([text("x", "code")], "`x`"),
        ([text("a"), text(" b ", "bold"), text("c")], "a **b** c"),
        ([text("   ", "bold"), text("c")], "c"),
        ([{"tag": "a", "text": "docs", "href": "https://example.com/a"}], "[docs](https://example.com/a)"),
        ([{"tag": "a", "text": "a]b", "href": "https://example.com/(x)"}], "[a\\]b](<https://example.com/(x)>)"),
        ([{"tag": "a", "text": "t", "href": "https://e.com/<b> c"}], "[t](<https://e.com/%3Cb%3E c>)"),
        ([{"tag": "a", "text": "", "href": "https://e.com"}], "[https://e.com](https://e.com)"),
        ([{"tag": "a", "text": "no link"}], "no link"),
        ([{"tag": "at", "user_id": "@_user_1", "user_name": "Herald"}, text(" hi")], "@_user_1 hi"),
        ([{"tag": "at", "user_name": "Anna"}], "@Anna"),
        ([{"tag": "emotion", "emoji_type": "SMILE"}], ":SMILE:"),
        ([{"tag": "hr"}], "---"),
        ([{"tag": "md", "text": "- a\n- b"}], "- a\n- b"),
        ([{"tag": "code_block", "language": "PYTHON", "text": "a = 1\n"}], "```python\na = 1\n```"),
        ([{"tag": "code_block", "language": "x y\n`", "text": "a"}], "```xy\na\n```"),
        ([{"tag": "code_block", "text": "```\ninner\n```"}], "````\n```\ninner\n```\n````"),
        ([{"tag": "later", "text": "still words"}], "still words"),
        ([{"tag": "later"}], ""),
        (["x", None, 7, []], ""),
    ],
)
def test_elements(paragraph: list[Any], markdown: str) -> None:
    assert to_markdown({"content": [paragraph]})[0] == markdown


def test_paragraphs_title_and_files() -> None:
    post = {
        "title": "Plan\nfor  May",
        "content": [
            [text("first")],
            [],
            [{"tag": "img", "image_key": "img_1"}],
            [{"tag": "media", "file_key": "f_1", "image_key": "img_2"}],
            [{"tag": "hr"}],
            [text("last")],
        ],
    }
    markdown, attachments = to_markdown(post)
    assert markdown == "# Plan for May\n\nfirst\n\n[image]\n\n[video]\n\n---\n\nlast"
    assert [(a.kind, a.id) for a in attachments] == [("image", "img_1"), ("video", "f_1")]


def test_inside_a_language_key() -> None:
    assert to_markdown({"zh_cn": {"title": "T", "content": [[text("x")]]}})[0] == "# T\n\nx"


def test_not_more_attachments_than_a_message_may_have() -> None:
    images = [[{"tag": "img", "image_key": f"img_{n}"}] for n in range(50)]
    assert len(to_markdown({"content": images})[1]) == 20


@pytest.mark.parametrize("post", [None, [], {}, {"content": None}, {"content": {}}, {"content": [1]}, {"zh_cn": 1}])
def test_what_is_no_post_is_empty(post: object) -> None:
    assert to_markdown(post) == ("", ())


def test_markdown_goes_through_a_post_unchanged() -> None:
    markdown = "# T\n\n- a **b**\n\n```py\nx\n```"
    assert to_markdown(from_markdown(markdown))[0] == markdown


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=10) | st.sampled_from(["text", "a", "at", "img", "code_block"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tag", "text", "href", "content", "style", "title", "language"]), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_anything_is_read(post: Any) -> None:
    to_markdown(post)
