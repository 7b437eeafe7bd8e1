"""The record of one reply's card: who may write to it, and what of the reply is surely there.

Two gateways can write to the same card: the one that streams a turn, and the one whose sender delivers the final
text. Feishu's update has no version, so the last request to arrive wins. The record decides instead:

* `open` names the streaming gateway (`holder`). It writes only while it holds the record: it renews by
  compare-and-set and starts no request that could outlast `LEASE` seconds from its last renewal.
* The sender turns `open` into `final` by compare-and-set. From then on no renewal succeeds. It asks the holder to
  stop and waits for its word, or for `LEASE` seconds where the holder is silent. Only then it writes.
* A holder that was stopped in mid-request and wakes later finds that it overran its lease, reads the record
  and puts the final text back, which the sender left there because it had no word from the holder.

Feishu drops a repeated `uuid` for one hour only
(https://open.feishu.cn/document/server-docs/im-v1/message/reply). `unsure_since` says since when the next part may
be there without our knowing its id; after `CERTAIN` seconds a repetition could show the part twice.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from herald_contracts.errors import PermanentError

LEASE = 8.0  # seconds
CERTAIN = 2_700.0  # seconds: the hour that Feishu promises, less what two clocks may differ


class UnreadableCard(PermanentError):
    """The record was written by a version that means something else by it."""


@dataclass(frozen=True, slots=True)
class Card:
    phase: Literal["open", "final"]
    holder: str = ""  # NATS subject of the gateway that streams; empty when nobody ever did
    settled: bool = True  # nobody but the final sender writes any more
    ids: tuple[str, ...] = ()  # platform ids of the parts that are there, in order
    unsure_since: float | None = None  # Unix seconds
    text: str = ""  # the final first part, for a holder that gave no word

    @property
    def streamed(self) -> bool:
        """The first part may show something else than the final text."""
        return bool(self.holder)

    def certain(self, now: float) -> bool:
        """Sending the next part (again) cannot show it twice."""
        return self.unsure_since is None or now - self.unsure_since < CERTAIN


def streaming(holder: str, now: float) -> Card:
    """The first entry, when somebody starts to stream."""
    return Card("open", holder=holder, settled=False, unsure_since=now)


def unstreamed(now: float) -> Card:
    """The first entry, when the final text comes first."""
    return Card("final", unsure_since=now)


def renewed(card: Card, message_id: str) -> Card:
    """The holder goes on; `message_id` is empty until the card is there."""
    return replace(card, ids=(message_id,), unsure_since=None) if message_id else card


def released(card: Card, message_id: str) -> Card:
    """The holder has ended and will not write again."""
    return replace(renewed(card, message_id), settled=True)


def claimed(card: Card) -> Card:
    """The final sender takes over. Where the holder has not ended, it is not known to be quiet yet."""
    return replace(card, phase="final")


def settled(card: Card, message_id: str, *, text: str) -> Card:
    """The holder is quiet. `message_id` is what it created, if it said; `text` is set when it gave no word."""
    known = (message_id,) if message_id and not card.ids else card.ids
    return replace(card, settled=True, ids=known, unsure_since=None if known else card.unsure_since, text=text)


def sending(card: Card, now: float) -> Card:
    """The next part is about to be sent."""
    return card if card.unsure_since is not None else replace(card, unsure_since=now)


def not_sent(card: Card) -> Card:
    """Feishu said that nothing was done."""
    return replace(card, unsure_since=None)


def sent(card: Card, message_id: str) -> Card:
    """One more part is there."""
    return replace(card, ids=(*card.ids, message_id), unsure_since=None)


def write(card: Card) -> bytes:
    """The record as JSON, without what is default."""
    return json.dumps(
        {k: v for k, v in asdict(card).items() if v not in ("", (), None)}, separators=(",", ":")
    ).encode()


def read(data: bytes) -> Card:
    """Raises UnreadableCard."""
    try:
        value: Any = json.loads(data)
        card = Card(
            phase=value["phase"],
            holder=str(value.get("holder", "")),
            settled=bool(value["settled"]),
            ids=tuple(str(i) for i in value.get("ids", ())),
            unsure_since=None if value.get("unsure_since") is None else float(value["unsure_since"]),
            text=str(value.get("text", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UnreadableCard("card record") from None
    if card.phase not in ("open", "final"):
        raise UnreadableCard("card record")
    return card
