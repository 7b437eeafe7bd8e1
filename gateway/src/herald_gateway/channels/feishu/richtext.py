"""Feishu's rich text ("post") and Markdown, both ways.

Formats: https://open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/im-v1/message/events/message_content (received)
and https://open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/im-v1/message/create_json (sent). A received post is
`{"title", "content": [[element, ...], ...]}`, sometimes inside a language key; each inner list is a paragraph.
A sent post may use the element `md`, which takes Markdown as it is.

Whatever an element lacks or has too much of, the rest of the post is still read: a person's message is not
refused for one strange element.
"""

import re
from collections.abc import Iterator
from typing import Any

from herald_contracts.messages import Attachment

_MAX_ATTACHMENTS = 20
_STYLES = (("bold", "**"), ("italic", "*"), ("lineThrough", "~~"), ("code", "`"))


def to_markdown(post: object) -> tuple[str, tuple[Attachment, ...]]:
    """The post as Markdown, and the files it shows. Mentions stay as their keys (`@_user_1`)."""
    document = _document(post)
    attachments: list[Attachment] = []
    blocks: list[str] = []
    title = _text(document, "title").strip()
    if title:
        blocks.append(f"# {_one_line(title)}")
    for paragraph in _lists(document.get("content")):
        block = "".join(_element(e, attachments) for e in paragraph if isinstance(e, dict))
        if block.strip():
            blocks.append(block.strip("\n"))
    return "\n\n".join(blocks).strip(), tuple(attachments[:_MAX_ATTACHMENTS])


def from_markdown(markdown: str) -> dict[str, Any]:
    """A post that shows `markdown`: for chats in which cards are not allowed."""
    return {"zh_cn": {"content": [[{"tag": "md", "text": markdown}]]}}


def attachment(kind: str, value: dict[str, Any], key: str) -> Attachment | None:
    """A reference to the file that `value[key]` names, or None when it names none."""
    file = _text(value, key)
    if not file or len(file) > 512:
        return None
    name = _one_line(_text(value, "file_name"))[:512]
    size = value.get("file_size")
    return Attachment.model_validate(
        {"id": file, "kind": kind, "name": name, "size": size if type(size) is int and size >= 0 else None}
    )


def _document(post: object) -> dict[str, Any]:
    if not isinstance(post, dict):
        return {}
    if "content" in post or "title" in post:
        return post
    for inner in post.values():
        if isinstance(inner, dict) and ("content" in inner or "title" in inner):
            return inner
    return {}


def _lists(value: object) -> Iterator[list[Any]]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, list):
            yield item


def _element(element: dict[str, Any], attachments: list[Attachment]) -> str:
    match element.get("tag"):
        case "text":
            return _styled(_text(element, "text"), element)
        case "a":
            return _styled(_link(_text(element, "text"), _text(element, "href")), element)
        case "at":
            return _text(element, "user_id") or f"@{_one_line(_text(element, 'user_name'))}"
        case "img":
            return _attached("image", element, "image_key", attachments)
        case "media":
            return _attached("video", element, "file_key", attachments)
        case "emotion":
            return f":{_one_line(_text(element, 'emoji_type'))}:"
        case "code_block":
            return _code(_text(element, "text"), _text(element, "language"))
        case "hr":
            return "---"
        case "md":
            return _text(element, "text")
        case _:
            # An element of a kind that came later: its words are worth more than its form.
            return _text(element, "text")


def _attached(kind: str, element: dict[str, Any], key: str, attachments: list[Attachment]) -> str:
    found = attachment(kind, element, key)
    if found is None:
        return ""
    attachments.append(found)
    return f"[{kind}]"


def _styled(text: str, element: dict[str, Any]) -> str:
    styles = element.get("style")
    inner = text.strip()
    if not inner or not isinstance(styles, list):
        return text
    # Emphasis marks with white space inside them are not emphasis (CommonMark 6.2), so it goes outside.
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    for style, mark in _STYLES:
        if style in styles:
            inner = f"{mark}{inner}{mark}"
    if "underline" in styles:
        inner = f"<u>{inner}</u>"
    return before + inner + after


def _link(text: str, href: str) -> str:
    if not href:
        return text
    label = _one_line(text).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]") or href
    target = href if re.fullmatch(r"[^\s()<>]+", href) else f"<{re.sub(r'[<>]', _percent, _one_line(href))}>"
    return f"[{label}]({target})"


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match.group()):02X}"


def _code(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    name = re.sub(r"[^\w+#.-]", "", language)[:32].lower()
    end = "" if text.endswith("\n") else "\n"
    return f"\n{fence}{name}\n{text}{end}{fence}\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _text(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
