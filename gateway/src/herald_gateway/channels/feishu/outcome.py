"""What an answer of Feishu's API means for a delivery. A pure table.

Codes: the error tables of https://open.feishu.cn/document/server-docs/im-v1/message/reply, .../message/create,
.../message-card/patch and https://open.feishu.cn/document/ukTMukTMukTM/ugjM14COyUjL4ITN (common codes). The
numbers in lark-oapi's own classification differ from these pages in places (230020 is the frequency limit and
230025 the length limit); the pages, and reports from live systems, are followed here.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Outcome(Enum):
    DONE = auto()
    LIMITED = auto()  # too fast: nothing was done, later is fine
    TOKEN = auto()  # our access token is not valid (any more)
    SETUP = auto()  # an operator must change something in Feishu's console: nothing was done, later may be fine
    DOWN = auto()  # nothing was done, later is fine
    UNKNOWN = auto()  # done or not, nobody knows
    SENDING = auto()  # another request with the same uuid is being worked on
    BAD_CARD = auto()  # this card cannot be rendered, or is too large
    NO_CARDS = auto()  # this chat takes no cards
    RECALLED = auto()  # the message to answer or to update is gone
    REFUSED = auto()  # never


@dataclass(frozen=True, slots=True)
class Meaning:
    outcome: Outcome
    retry_after: float | None = None  # seconds, where Feishu says so


_CODES: dict[int, Outcome] = {
    0: Outcome.DONE,
    99991400: Outcome.LIMITED,
    99991402: Outcome.LIMITED,
    11020: Outcome.LIMITED,
    11021: Outcome.LIMITED,
    11232: Outcome.LIMITED,
    11233: Outcome.LIMITED,
    230020: Outcome.LIMITED,
    99991661: Outcome.TOKEN,
    99991663: Outcome.TOKEN,
    99991664: Outcome.TOKEN,
    99991665: Outcome.TOKEN,
    99991666: Outcome.TOKEN,
    99991668: Outcome.TOKEN,
    99991401: Outcome.SETUP,  # our address is not on the app's list
    99991672: Outcome.SETUP,  # a scope is missing
    99991679: Outcome.SETUP,
    230006: Outcome.SETUP,  # the bot ability is off
    230027: Outcome.SETUP,  # a permission is missing
    10003: Outcome.SETUP,  # app_id or secret malformed
    10014: Outcome.SETUP,  # app secret wrong
    2200: Outcome.UNKNOWN,  # internal error
    230049: Outcome.SENDING,
    230025: Outcome.BAD_CARD,
    230099: Outcome.BAD_CARD,
    230054: Outcome.NO_CARDS,
    230011: Outcome.RECALLED,
    230110: Outcome.RECALLED,
}
_LONGEST_WAIT = 600.0


def classify(status: int, code: int | None, retry_after: str | None = None) -> Meaning:
    """`code` is the `code` of a JSON answer, None when there is none; `retry_after` the header's text."""
    if status == 429:
        return Meaning(Outcome.LIMITED, _seconds(retry_after))
    if code is not None and code in _CODES:
        found = _CODES[code]
        if found is Outcome.DONE and not 200 <= status < 300:
            return Meaning(Outcome.UNKNOWN)
        return Meaning(found, _seconds(retry_after) if found is Outcome.LIMITED else None)
    if status == 503:
        # "Currently unable to handle the request" (RFC 9110 15.6.4), unlike 500, 502 and 504.
        return Meaning(Outcome.DOWN, _seconds(retry_after))
    if status >= 500 or (code is None and 200 <= status < 300):
        return Meaning(Outcome.UNKNOWN)
    if status == 408:
        return Meaning(Outcome.DOWN)
    if code is None and status != 413:
        # Not Feishu speaking, but a proxy, or the wrong address.
        return Meaning(Outcome.SETUP)
    return Meaning(Outcome.REFUSED)


def _seconds(text: str | None) -> float | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 6:
        return None
    return min(float(text), _LONGEST_WAIT)
