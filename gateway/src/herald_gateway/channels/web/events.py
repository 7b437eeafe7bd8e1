"""What the page is told, as server-sent events. Pure.

Every event is one JSON object with a `type`. Events with an `id:` line are durable: its number is their place
in stream WEB, and a page that comes back with it gets what it has missed and nothing twice.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from herald_contracts.messages import LiveUpdate, Message, Reply
from herald_gateway.channels.web import render
from herald_gateway.channels.web.session import Session

# Texts longer than this are turned into HTML in a thread: it takes milliseconds, and others are waiting.
LONG_TEXT = 2_000
_LIVE_PAUSE = 0.05
_LIVE_SHARE = 10
_LIVE_BYTES_PER_SECOND = 200_000


@dataclass(frozen=True, slots=True)
class Durable:
    """One entry of the transcript. `render` is the slow part, apart so that it can be run elsewhere."""

    sequence: int
    text: str
    fields: dict[str, Any]
    render: Callable[[str], str]

    def encode(self) -> bytes:
        return frame({**self.fields, "text": self.text, "html": self.render(self.text)}, self.sequence)


def message(entry: Message, sequence: int, session: Session) -> Durable:
    fields = {
        "type": "message",
        "id": session.own_name(entry.event_id),
        "at": entry.received_at.isoformat(),
    }
    return Durable(sequence, entry.content, fields, render.verbatim)


def reply(entry: Reply, sequence: int, session: Session) -> Durable:
    fields = {
        "type": "reply",
        "id": entry.id,
        "to": session.own_name(entry.event_id),
        "kind": entry.kind,
        "at": entry.created_at.isoformat(),
    }
    return Durable(sequence, entry.content, fields, render.markdown)


def live(update: LiveUpdate, session: Session) -> bytes:
    """An answer as far as it is written: replaced by the next, and by the durable reply of the same id."""
    return frame(
        {
            "type": "live",
            "id": update.reply,
            "to": session.own_name(update.event_id),
            "state": update.state,
            "text": update.text,
            "html": render.markdown(update.text) if update.text else "",
        }
    )


def caught_up(*, shortened: bool) -> bytes:
    """All that was in the transcript has been sent. `shortened`: only its newest entries."""
    return frame({"type": "caught-up", "shortened": shortened})


def reset() -> bytes:
    """The transcript is not the one the page has seen the beginning of: it must begin anew."""
    return frame({"type": "reset"})


def beat() -> bytes:
    """Nothing has happened. An event and not a comment, which a page never hears of: it must know a dead line."""
    return frame({"type": "beat"})


def ending(reason: str) -> bytes:
    """The last event of this response: `lost` (NATS is gone), `leaving` (the gateway stops), `elsewhere`."""
    return frame({"type": "ending", "reason": reason})


def frame(event: dict[str, Any], sequence: int | None = None) -> bytes:
    """One event on the wire (WHATWG HTML, 9.2). JSON has no raw line breaks, so `data` is one line."""
    place = f"id: {sequence}\n" if sequence is not None else ""
    return f"{place}data: {json.dumps(event, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def last_seen(header: str | None, query: str | None) -> int:
    """The place of the last event the page has: from the browser's own header or our parameter, 0 for none.

    Anything else than a place is 0 too: the whole transcript again is safe, since the page knows each id.
    """
    for value in (header, query):
        if value and value.isascii() and value.isdigit() and len(value) <= 18:
            return int(value)
    return 0


def pause_after_live(render_seconds: float, sent_bytes: int) -> float:
    """Seconds until the next live event of one page: a long answer costs more to show, so it is shown less often."""
    return max(_LIVE_PAUSE, _LIVE_SHARE * render_seconds, sent_bytes / _LIVE_BYTES_PER_SECOND)
