"""The content of one Feishu message, whatever its type, as Markdown and attachment references.

`message.content` is JSON inside a JSON string, written by many clients of many ages. It is authentic by the
time it is read here, so it is read leniently: what cannot be stored (NUL, half a surrogate pair) is dropped or
replaced, an unknown type becomes a short note in brackets, and only content that is not JSON is refused.
Types: https://open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/im-v1/message/events/message_content
"""

import json
from dataclasses import dataclass
from typing import Any

from herald_contracts.messages import Attachment
from herald_gateway.channels.base import Malformed
from herald_gateway.channels.feishu import richtext

MAX_CHARACTERS = 200_000

# Files: type of message -> kind of attachment, where its key is.
_FILES = {
    "image": ("image", "image_key"),
    "file": ("file", "file_key"),
    "folder": ("file", "file_key"),
    "audio": ("audio", "file_key"),
    "media": ("video", "file_key"),
    "video": ("video", "file_key"),
    "sticker": ("image", "file_key"),
}


@dataclass(frozen=True, slots=True)
class Content:
    """`markdown` still has mention keys (`@_user_1`) in it: see `mentions`."""

    markdown: str
    attachments: tuple[Attachment, ...] = ()


def read(kind: str, text: str) -> Content:
    """Read `message.content` of a message of type `kind`. Raises Malformed when it is no JSON object."""
    try:
        value = _clean(json.loads(text))
    except (ValueError, RecursionError):
        raise Malformed("message_content") from None
    if not isinstance(value, dict):
        raise Malformed("message_content")
    found = _by_kind(kind, value)
    return Content(found.markdown[:MAX_CHARACTERS], found.attachments)


def _by_kind(kind: str, value: dict[str, Any]) -> Content:
    if kind == "text":
        return Content(_string(value, "text"))
    if kind == "post":
        return Content(*richtext.to_markdown(value))
    if kind in _FILES:
        label, key = _FILES[kind]
        file = richtext.attachment(label, value, key)
        note = f"[{kind}: {file.name}]" if file is not None and file.name else f"[{kind}]"
        return Content(note, (file,) if file is not None else ())
    if kind == "location":
        return Content(f"[location: {_string(value, 'name')}]")
    if kind == "interactive":
        return Content(f"[card: {_string(value, 'title')}]" if _string(value, "title") else "[card]")
    return Content(f"[{_label(kind)}]")


def _label(kind: str) -> str:
    return "".join(c if c.isalnum() else " " for c in kind)[:40].strip() or "message"


def _string(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def _clean(value: Any) -> Any:
    """The same value with text that PostgreSQL and UTF-8 can hold."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): _clean(item) for key, item in value.items()}
    return value


def clean_text(text: str) -> str:
    """Without NUL, and with half surrogate pairs replaced."""
    if text.isascii():
        return text.replace("\0", "")
    return text.replace("\0", "").encode("utf-8", "replace").decode()
