"""Text from people and models as HTML that cannot do anything.

Whatever a model says may have been put into its mouth. So raw HTML is shown as text, no image is ever loaded
(its address would carry a secret out), and a link has one of three schemes and tells its target nothing.
The page inserts this HTML as it is; its content security policy is the second wall, not the first.
"""

import html
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

LINK_SCHEMES = frozenset({"http", "https", "mailto"})
# Beyond this many characters Markdown is shown as it was written: the parser needs more than linear time for
# hostile input, and the event loop is everybody's.
MARKDOWN_LIMIT = 30_000
# Finding bare addresses is the worst of it: quadratic in their number (7 s for 10,000 times `://`).
ADDRESS_LIMIT = 200

_LINK = {"target": "_blank", "rel": "noopener noreferrer nofollow"}
# Each block finds its own direction, so that a Hebrew line and an English one in a list both read well.
_BLOCKS = frozenset(
    {
        "paragraph_open",
        "heading_open",
        "bullet_list_open",
        "ordered_list_open",
        "list_item_open",
        "blockquote_open",
        "table_open",
        "th_open",
        "td_open",
    }
)


def markdown(text: str) -> str:
    """CommonMark with tables, strikethrough and bare web addresses, as safe HTML. May be called in any thread."""
    if len(text) > MARKDOWN_LIMIT:
        return verbatim(text)
    parser = _PARSERS.linking if text.count("://") <= ADDRESS_LIMIT else _PARSERS.plain
    rendered: str = parser.render(text)
    return rendered


def verbatim(text: str) -> str:
    """Text exactly as it was written, as HTML: what a person typed is shown as typed."""
    return f'<p class="verbatim" dir="auto">{html.escape(text)}</p>\n'


def allowed_link(url: str) -> bool:
    """True for an absolute http, https or mailto address. Relative ones would point into this gateway."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return False
    if parts.scheme not in LINK_SCHEMES:
        return False
    return bool(parts.path if parts.scheme == "mailto" else parts.netloc)


def _make_safe(state: StateCore) -> None:
    for token in state.tokens:
        if token.type in _BLOCKS:
            token.attrSet("dir", "auto")
            # A column's alignment comes as a style attribute, which the page's policy forbids: a class says it too.
            style = str(token.attrs.pop("style", ""))
            if style.startswith("text-align:"):
                token.attrSet("class", style.removeprefix("text-align:"))
        elif token.type in ("fence", "code_block"):
            token.attrSet("dir", "ltr")
        elif token.type == "inline" and token.children:
            token.children = _without_images(token.children)
            for child in token.children:
                if child.type == "link_open":
                    child.attrs = {"href": child.attrs["href"], **_LINK}


def _without_images(children: Sequence[Token]) -> list[Token]:
    """An image becomes a link to it; inside a link, where no second one may be, its description."""
    kept: list[Token] = []
    inside_link = 0
    for token in children:
        inside_link += (token.type == "link_open") - (token.type == "link_close")
        if token.type != "image":
            kept.append(token)
            continue
        source = str(token.attrs.get("src", ""))
        label = Token("text", "", 0)
        label.content = token.content or source
        if inside_link:
            kept.append(label)
        else:
            opening = Token("link_open", "a", 1)
            opening.attrs = {"href": source}
            kept += [opening, label, Token("link_close", "a", -1)]
    return kept


def _parser(*, linking: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": linking, "breaks": True})
    parser.enable(["table", "strikethrough"])
    if linking and parser.linkify is not None:
        parser.enable("linkify")
        # Only what is written with its scheme: `report.md` is a file name, not a site in Moldova.
        parser.linkify.set({"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False})
    parser.validateLink = allowed_link  # type: ignore[method-assign]
    parser.core.ruler.push("make_safe", _make_safe)
    return parser


class _Parsers(threading.local):
    """One pair per thread: the finder of addresses keeps its place in itself."""

    def __init__(self) -> None:
        self.linking = _parser(linking=True)
        self.plain = _parser(linking=False)


_PARSERS = _Parsers()
