"""From whatever a model said to a reply that every platform, stream and table can take."""

import re
from datetime import datetime
from typing import Literal

from herald_agent.deciding.turns import Turn
from herald_contracts.identity import reply_id
from herald_contracts.messages import Message, Reply

# A Reply holds at most 200,000 characters; half of that, with every character escaped in JSON, still fits into one
# NATS message of 1 MB, the server's default.
MAX_CHARACTERS = 100_000
_CUT = "\n\n[The answer was cut here: it became too long.]"
# Control characters except tab and line feed; U+FFFD stands where bytes were no UTF-8; surrogates are no text at all.
_UNWANTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\ud800-\udfff\ufffe\uffff]")
_FENCE = re.compile(r"^(```+|~~~+)", re.MULTILINE)


def clean(text: str, *, unfinished: bool = False) -> str:
    """`text` as Markdown without control characters and broken Unicode, of at most MAX_CHARACTERS, note included.

    "" when nothing is left to say. `unfinished`: the model was stopped at a limit; the reader is told so.
    """
    # Before anything that costs time per character: a model that never ends may have said a lot.
    unfinished = unfinished or len(text) > MAX_CHARACTERS
    kept = _UNWANTED.sub("", text[: MAX_CHARACTERS * 2].replace("\r\n", "\n").replace("\r", "\n")).strip()
    if not kept or not unfinished:
        return kept
    room = MAX_CHARACTERS - len(_CUT) - 4
    return closed(kept[:room].rstrip()) + _CUT


def closed(text: str) -> str:
    """`text` with a code block that was cut off closed, so that what follows is not code."""
    open_fence = ""
    for fence in _FENCE.findall(text):
        if not open_fence:
            open_fence = fence
        elif fence[0] == open_fence[0] and len(fence) >= len(open_fence):
            open_fence = ""
    return f"{text}\n{open_fence[:3]}" if open_fence else text


def reply(turn: Turn, message: Message, text: str, kind: Literal["answer", "failure"], now: datetime) -> Reply:
    """The reply to `message`. Whoever runs the turn, its id is the same."""
    return Reply(
        id=reply_id(turn.id, turn.reply_number),
        turn=turn.id,
        channel=message.channel,
        conversation=message.conversation,
        chat=message.chat,
        thread=message.thread,
        reply_to=message.platform_message_id,
        event_id=message.event_id,
        kind=kind,
        content=text,
        created_at=now,
    )
