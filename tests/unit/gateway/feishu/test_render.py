"""What goes into a card, and what must not."""

import json
import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from herald_gateway.channels.feishu import render
from herald_gateway.channels.feishu.cut import cut
from tests.fakes.feishu import text_of

ZWSP = "\u200b"


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("**a** [b](https://c) `d`", "**a** [b](https://c) `d`"),
        ("<at id=all></at> hi", "&#60;at id=all>&#60;/at> hi"),
        ("< at id=all>", "< at id=all>"),
        ("<AT ID=all>", "&#60;AT ID=all>"),
        ("<font color='red'>x</font>", "&#60;font color='red'>x&#60;/font>"),
        ("<!-- x --> <?php", "&#60;!-- x --> &#60;?php"),
        ("1 < 2 and a<b", "1 < 2 and a&#60;b"),
        ("> quote", "> quote"),
        ("<https://example.com/a?b=c>", "[https://example.com/a?b=c](https://example.com/a?b=c)"),
        ("![cat](https://example.com/cat.png)", "[cat](https://example.com/cat.png)"),
        ("![](https://example.com/cat.png)", "[image](https://example.com/cat.png)"),
        ("`<b>x</b>`", "`<b>x</b>`"),
        ("`<at id=all></at>`", f"`<{ZWSP}at id=all><{ZWSP}/at>`"),
        ("```html\n<b>x</b>\n<at id=all>\n```\n<b>", f"```html\n<b>x</b>\n<{ZWSP}at id=all>\n```\n&#60;b>"),
        ("~~~\n<b>\n~~~\n<b>", "~~~\n<b>\n~~~\n&#60;b>"),
        ("````\n```\n<b>\n````\n<b>", "````\n```\n<b>\n````\n&#60;b>"),
        ("```\n<b> never closed", "```\n<b> never closed"),
        ("a ` b <b> c", "a ` b &#60;b> c"),
        ("`a\n<b>`", "`a\n&#60;b>`"),
        ("`` a ` <b> `` <b>", "`` a ` <b> `` &#60;b>"),
        ("```not a fence``` <b>", "```not a fence``` &#60;b>"),
    ],
)
def test_nothing_that_feishu_would_obey(markdown: str, shown: str) -> None:
    assert render.neutral(markdown) == shown


@given(st.text(alphabet="<>at/ id=l`~\n![](x)@person", max_size=120))
def test_no_text_makes_a_mention(markdown: str) -> None:
    assert not re.search(r"<\s?/?(at|person)\b", render.neutral(markdown).replace("< ", "<x"), re.IGNORECASE)


def test_the_card_can_be_updated() -> None:
    card = json.loads(render.card("hello"))
    assert card["schema"] == "2.0"
    assert card["config"]["update_multi"] is True
    assert text_of("interactive", render.card("hello")) == "hello"
    assert text_of("interactive", render.plain_card("hello")) == "hello"
    assert text_of("post", render.post("hello")) == "hello"


def test_a_growing_card_says_so() -> None:
    assert "notation" in render.card("hello", growing=True)
    assert "notation" not in render.card("hello")
    assert json.loads(render.card("", growing=True))["body"]["elements"]


@pytest.mark.parametrize("text", ["", "  \n\t", "\n"])
def test_an_empty_answer_is_still_an_answer(text: str) -> None:
    assert render.parts(text) == (render.EMPTY,)
    assert render.first_part(text) == ""


REQUEST = st.text(max_size=300) | st.text(alphabet='"\\\n\t\x01<é中😀', max_size=300)


@given(REQUEST)
def test_cost_is_never_less_than_what_is_sent(text: str) -> None:
    def size(value: str) -> int:
        body = {"content": render.card(value)}
        return len(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))

    assert size(text) - size("") <= render.cost(text) + len('{"tag":"markdown","content":""}') * 2


@pytest.mark.parametrize("unit", ["word ", "中文字。", "😀", '"\\\n', "a\n\n"])
def test_parts_fit_into_a_request(unit: str) -> None:
    parts = render.parts(unit * 40_000)
    assert len(parts) > 1
    for part in parts:
        body = {"msg_type": "interactive", "content": render.card(part), "uuid": "u" * 50}
        assert len(json.dumps(body, ensure_ascii=False).encode()) <= 24_000


def test_first_part_is_the_first_of_all_parts() -> None:
    text = "Some words. " * 10_000
    assert render.first_part(text) == render.parts(text)[0]


def parts_of(text: str, limit: int) -> list[str]:
    return list(cut(text, limit, len))


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("short", 10, ["short"]),
        ("one two three", 8, ["one two", "three"]),
        ("one\ntwo\nthree", 9, ["one\ntwo", "three"]),
        ("first part\n\nsecond", 14, ["first part", "second"]),
        ("One. Two three", 10, ["One. Two", "three"]),
        ("One it is. Two", 13, ["One it is.", "Two"]),
        ("一二三。四五", 5, ["一二三。", "四五"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("```py\na = 1\nb = 2\nc = 3\n```", 18, ["```py\na = 1\n```", "```py\nb = 2\n```", "```py\nc = 3\n```"]),
        ("~~~\naaaa\nbbbb\n~~~\nend", 14, ["~~~\naaaa\n~~~", "~~~\nbbbb\n~~~", "end"]),
    ],
)
def test_where_it_is_cut(text: str, limit: int, parts: list[str]) -> None:
    assert parts_of(text, limit) == parts


@pytest.mark.parametrize(
    "cluster",
    [
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",  # family
        "\U0001f44d\U0001f3fd",  # thumbs up, medium skin
        "\U0001f1e9\U0001f1ea",  # flag
        "\u2764\ufe0f",  # red heart
        "e\u0301\u0323",  # e with two marks
        "\u1100\u1161\u11a8",  # Hangul jamo
        "\U0001f3f4\U000e0067\U000e0062\U000e007f",  # flag with tags
        "&#60;",
    ],
)
def test_no_cut_inside_what_people_see_as_one(cluster: str) -> None:
    for before in range(8):
        text = "x" * before + cluster * 6
        for limit in range(len(cluster) + 1, len(cluster) * 3):
            parts = parts_of(text, limit)
            assert "".join(parts) == text
            assert sum(part.count(cluster) for part in parts) == 6


FENCED = st.lists(
    st.sampled_from(
        ["```py", "```", "~~~", "````", "x = 1", "", "words and words", "- item", "中文字。", "e\u0301", "🇩🇪"]
    ),
    max_size=40,
).map("\n".join)


@hypothesis_settings(max_examples=300, deadline=None)
@given(text=FENCED, limit=st.integers(min_value=30, max_value=200))
def test_parts_are_whole(text: str, limit: int) -> None:
    parts = parts_of(text, limit)
    for part in parts:
        assert len(part) <= limit
        assert not part or not unicodedata.combining(part[0])
    # Nothing but white space and repeated fences is added or lost.
    kept = re.sub(r"\s|[`~]{3,}(py)?", "", "".join(parts))
    assert kept == re.sub(r"\s|[`~]{3,}(py)?", "", text)


def test_every_part_but_the_last_closes_its_code() -> None:
    text = "intro\n```py\n" + "x = 1\n" * 200 + "```\nend"
    parts = parts_of(text, 100)
    for part in parts:
        assert part.count("```") % 2 == 0
    assert "".join(parts).count("x = 1") == 200


def test_long_texts_are_cut_quickly() -> None:
    """Guards against work that grows with the square of the length: minutes, not a close race."""
    began = time.monotonic()
    for text in (
        "`" * 200_000,
        "<" * 200_000,
        "a`b``c" * 33_000,
        "x" * 200_000,
        "🇩🇪" * 100_000,
        "e" + "\u0301" * 200_000,
    ):
        assert render.parts(text)
    assert time.monotonic() - began < 60
