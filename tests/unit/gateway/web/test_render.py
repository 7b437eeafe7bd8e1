"""Whatever comes in, only inert HTML goes out."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_gateway.channels.web import render

_BLOCKS = {"p", "pre", "ul", "ol", "li", "blockquote", "hr", *(f"h{level}" for level in range(1, 7))}
_TABLE = {"table", "thead", "tbody", "tr", "th", "td"}
_TAGS = {"a", "em", "strong", "s", "code", "br"} | _BLOCKS | _TABLE
_ATTRIBUTES = {"href", "target", "rel", "dir", "class", "start"}
_LINK = 'target="_blank" rel="noopener noreferrer nofollow"'


class _Inspector(HTMLParser):
    """Collects what a browser would make of it."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.nested_links = 0
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.nested_links += tag == "a" and "a" in self.open
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("br", "hr")
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _assert_inert(source: str) -> None:
    seen = _Inspector(source)
    assert seen.open == []
    assert seen.nested_links == 0
    for tag, attributes in seen.tags:
        assert tag in _TAGS
        assert set(attributes) <= _ATTRIBUTES
        if tag == "a":
            href = attributes["href"] or ""
            assert href.split(":")[0].lower() in render.LINK_SCHEMES
            assert attributes["rel"] == "noopener noreferrer nofollow"
            assert attributes["target"] == "_blank"


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '"><svg onload=alert(1)>',
        "<a href='javascript:alert(1)'>x</a>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](java\tscript:alert(1))",
        "[x](\x01javascript:alert(1))",
        "[x](vbscript:x)",
        "[x](data:text/html;base64,PHN2Zz4=)",
        "[x](file:///etc/passwd)",
        "[x](/healthz/live)",
        "[x](//evil.example)",
        "[x](https:javascript:alert(1))",
        "<javascript:alert(1)>",
        "[x]: javascript:alert(1)\n\n[x]",
        "![x](javascript:alert(1))",
        "![x](https://evil.example/?secret=1)",
        "![![x](https://a.example/b.png)](https://c.example/d.png)",
        "[![x](https://a.example/b.png)](https://c.example)",
        '[x](https://a.example "onclick=alert(1)")',
        '```"><img src=x onerror=alert(1)>\ncode\n```',
        "| a |\n|:-:|\n| <b>x</b> |",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "<!-- --><![CDATA[ ]]><?php ?>",
    ],
)
def test_hostile_text_is_inert(hostile: str) -> None:
    _assert_inert(render.markdown(hostile))
    _assert_inert(render.verbatim(hostile))


@given(st.lists(st.sampled_from([*"[]()!<>&\"'`*_~|#-=:/\\ \n\t\x00\u202e", "http://a.b", "javascript:", "x"])))
def test_any_mix_of_marks_is_inert(parts: list[str]) -> None:
    _assert_inert(render.markdown("".join(parts)))


@given(st.text())
def test_verbatim_keeps_every_character(text: str) -> None:
    seen = _Inspector(render.verbatim(text))
    assert seen.text == text + "\n"
    assert [tag for tag, _ in seen.tags] == ["p"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**b** *i* ~~s~~ `c`", '<p dir="auto"><strong>b</strong> <em>i</em> <s>s</s> <code>c</code></p>'),
        ("[x](https://a.example/b)", f'<p dir="auto"><a href="https://a.example/b" {_LINK}>x</a></p>'),
        ("[x](mailto:a@b.example)", f'<p dir="auto"><a href="mailto:a@b.example" {_LINK}>x</a></p>'),
        (
            "see https://a.example/b.",
            f'<p dir="auto">see <a href="https://a.example/b" {_LINK}>https://a.example/b</a>.</p>',
        ),
        ("report.md www.a.example a@b.example", '<p dir="auto">report.md www.a.example a@b.example</p>'),
        ("![a cat](https://a.example/c.png)", f'<p dir="auto"><a href="https://a.example/c.png" {_LINK}>a cat</a></p>'),
        ("![](https://a.example/)", f'<p dir="auto"><a href="https://a.example/" {_LINK}>https://a.example/</a></p>'),
        (
            "[![a cat](https://a.example/c.png)](https://b.example)",
            f'<p dir="auto"><a href="https://b.example" {_LINK}>a cat</a></p>',
        ),
        ("one\ntwo", '<p dir="auto">one<br />\ntwo</p>'),
        ("```python\nx = 1\n```", '<pre><code dir="ltr" class="language-python">x = 1\n</code></pre>'),
        ("- שלום", '<ul dir="auto">\n<li dir="auto">שלום</li>\n</ul>'),
    ],
)
def test_markdown(text: str, expected: str) -> None:
    assert render.markdown(text).strip() == expected


def test_column_alignment_needs_no_inline_style() -> None:
    shown = render.markdown("| a |\n|--:|\n| b |")
    assert "style=" not in shown
    assert shown.count('class="right"') == 2


@pytest.mark.parametrize(
    "text",
    [
        "x" * (render.MARKDOWN_LIMIT + 1),
        "[" * 200_000,
    ],
)
def test_very_long_text_is_not_parsed(text: str) -> None:
    assert render.markdown(text) == render.verbatim(text)


def test_text_full_of_addresses_is_not_searched_for_more() -> None:
    """Finding them is quadratic: 10,000 took seven seconds of everybody's event loop."""
    few = "http://a.example " * render.ADDRESS_LIMIT
    assert render.markdown(few).count("<a ") == render.ADDRESS_LIMIT
    assert "<a " not in render.markdown(few + "http://a.example")
