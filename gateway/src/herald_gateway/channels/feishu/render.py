"""Herald's Markdown as what Feishu shows: a card that can be updated, or a post where cards are not allowed.

Card JSON 2.0 with one Markdown element. `update_multi` is what makes a sent card updatable:
https://open.feishu.cn/document/server-docs/im-v1/message-card/patch (30 KB a card, 5 updates a second).
Card Markdown: https://open.feishu.cn/document/uAjLw4CM/ukzMukzMukzM/feishu-cards/card-json-v2-components/content-components/rich-text

Card Markdown knows tags: `<at id=all></at>` in a model's answer would call a whole group. So nothing that could
open a tag survives outside code, and inside code no mention does. An image needs a key of Feishu's; one with any
other address makes the whole card fail, so images become links.
"""

import json
import re
from typing import Any

from herald_gateway.channels.feishu import richtext
from herald_gateway.channels.feishu.cut import cut

# Feishu takes 30 KB for the whole request and adds what its own rendering needs.
LIMIT = 20_000
EMPTY = "(no text)"

_CODE = re.compile(
    r"(?ms)(^ {0,3}(`{3,64}|~{3,64})[^`~\n]*\n.*?(?:^ {0,3}\2[`~]*[ \t]*$|\Z)|(?<!`)(`{1,64})(?!`)[^\n]+?(?<!`)\3(?!`))"
)
_AUTOLINK = re.compile(r"<(https?://[^\s<>]+)>")
_IMAGE = re.compile(r"!\[([^\]\n]*)\]\(")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_MENTION = re.compile(r"<(?=/?(?:at|person)\b)", re.IGNORECASE)


def parts(markdown: str) -> tuple[str, ...]:
    """The answer as texts for one card each, in order; at least one."""
    text = neutral(markdown).strip()
    return tuple(cut(text, LIMIT, cost)) if text else (EMPTY,)


def first_part(markdown: str) -> str:
    """What one card can show of an answer that is still being written; may be empty."""
    text = neutral(markdown).strip()
    return next(cut(text, LIMIT, cost)) if text else ""


def neutral(markdown: str) -> str:
    """The same Markdown without anything that Feishu would obey instead of show."""
    out: list[str] = []
    position = 0
    for match in _CODE.finditer(markdown):
        out += (_neutral_prose(markdown[position : match.start()]), _MENTION.sub("<\u200b", match.group()))
        position = match.end()
    out.append(_neutral_prose(markdown[position:]))
    return "".join(out)


def _neutral_prose(text: str) -> str:
    text = _AUTOLINK.sub(r"[\1](\1)", text)
    text = _IMAGE.sub(lambda m: f"[{m.group(1) or 'image'}](", text)
    return _TAG.sub("&#60;", text)


def card(text: str, *, growing: bool = False) -> str:
    """The content of an `interactive` message. `growing` marks an answer that is still being written."""
    elements: list[dict[str, Any]] = [{"tag": "markdown", "content": text}] if text else []
    if growing:
        elements.append({"tag": "markdown", "content": "…", "text_size": "notation"})
    return _card(elements)


def plain_card(text: str) -> str:
    """The same text with no Markdown at all: for a card that Feishu could not render."""
    return _card([{"tag": "div", "text": {"tag": "plain_text", "content": text}}])


def post(text: str) -> str:
    """The content of a `post` message."""
    return _json(richtext.from_markdown(text))


def cost(text: str) -> int:
    """Bytes that `text` adds to a request: UTF-8, escaped twice (JSON in a JSON string)."""
    quotes = text.count('"') + text.count("\\")
    lines = text.count("\n") + text.count("\t") + text.count("\r")
    control = sum(text.count(c) for c in _CONTROL) if not text.isprintable() else 0
    return len(text.encode("utf-8", "replace")) + 3 * quotes + 2 * lines + 6 * control


_CONTROL = tuple(chr(c) for c in range(32) if chr(c) not in "\n\t\r")


def _card(elements: list[dict[str, Any]]) -> str:
    return _json({"schema": "2.0", "config": {"update_multi": True}, "body": {"elements": elements}})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
