"""What became of replies on their platforms: from the RECEIPT stream into the outbox.

Acknowledged only after the statement: a crash in between brings the receipt again, and recording it again changes
nothing.
"""

from collections.abc import Iterable

from nats.aio.client import Client
from nats.aio.msg import Msg

from herald_agent.consuming import Consuming
from herald_agent.crashpoints import Reach, around, nothing
from herald_agent.relay import Relay
from herald_agent.store import outbox
from herald_agent.store.outbox import Outcome
from herald_agent.store.pool import Database
from herald_contracts.errors import MalformedMessage
from herald_contracts.messages import Receipt
from herald_contracts.subjects import Names
from herald_runtime import logs

# Which receipt of one reply counts when several come at once: the one that says most.
_WEIGHT = {"unknown": 0, "failed": 1, "sent": 2}
_INT = 2**31 - 1  # PostgreSQL's integer
log = logs.get("receipts")


def strongest(receipts: Iterable[Receipt]) -> list[Outcome]:
    """One outcome per reply, in the order of first appearance. Pure."""
    found: dict[str, Receipt] = {}
    for receipt in receipts:
        known = found.get(receipt.reply)
        if known is None or _WEIGHT[receipt.outcome] > _WEIGHT[known.outcome]:
            found[receipt.reply] = receipt
    return [
        Outcome(r.reply, r.outcome, _storable(r.platform_message_id), _storable(r.reason), min(r.attempts, _INT), r.at)
        for r in found.values()
    ]


class Receipts(Consuming):
    """Reads the durable consumer `receipts`."""

    def __init__(self, client: Client, names: Names, db: Database, relay: Relay, reach: Reach = nothing) -> None:
        super().__init__(client, names.receipt_stream, names.receipts)
        self._db = db
        self._relay = relay
        self._reach = reach

    async def handle(self, batch: list[Msg]) -> None:
        receipts, unreadable = [], []
        for msg in batch:
            try:
                receipts.append(Receipt.from_wire(msg.data))
            except MalformedMessage as e:
                log.error("unreadable receipt", problem=str(e), sequence=msg.metadata.sequence.stream)
                unreadable.append(msg)
        outcomes = strongest(receipts)
        conversations = await around(self._reach, "receipts.record", outbox.record(self._db, outcomes))
        self._relay.look(conversations)
        for msg in batch:
            if msg in unreadable:
                # The server's advisory about it ends as a dead letter.
                await msg.term()
            else:
                await around(self._reach, "receipts.ack", msg.ack())


def _storable(text: str) -> str:
    return text.replace("\0", "")
