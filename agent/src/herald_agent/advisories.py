"""What the message server gave up on: its advisories become dead letters, for people to see."""

import json

from nats.aio.client import Client
from nats.aio.msg import Msg

from herald_agent.consuming import Consuming
from herald_agent.store import dead_letters
from herald_agent.store.pool import Database
from herald_contracts.subjects import Names

_KINDS = {
    "io.nats.jetstream.advisory.v1.max_deliver": "delivered too often without an acknowledgement",
    "io.nats.jetstream.advisory.v1.terminated": "given up by its reader",
}


def explain(data: bytes) -> tuple[str, int, str]:
    """(stream, sequence, reason) of an advisory; what cannot be read is ("", 0, why). Pure."""
    try:
        advisory = json.loads(data)
        kind = str(advisory["type"])
        reason = f"{_KINDS.get(kind, kind)} (consumer {advisory['consumer']})"
        return str(advisory["stream"]), int(advisory["stream_seq"]), reason[:512]
    except (ValueError, KeyError, TypeError) as e:
        return "", 0, f"unreadable advisory ({type(e).__name__})"


class Advisories(Consuming):
    """Reads the durable consumer `advisories`."""

    def __init__(self, client: Client, names: Names, db: Database) -> None:
        super().__init__(client, names.advisory_stream, names.advisory_readers)
        self._names = names
        self._db = db

    async def handle(self, batch: list[Msg]) -> None:
        for msg in batch:
            stream, sequence, reason = explain(msg.data)
            # One that cannot be read is known by its own place.
            stream, sequence = (stream, sequence) if stream else (self._names.advisory_stream, _place(msg))
            await dead_letters.record_advisory(
                self._db, stream=stream, stream_seq=sequence, reason=reason, payload=msg.data[:65_536]
            )
            await msg.ack()


def _place(msg: Msg) -> int:
    return int(msg.metadata.sequence.stream)
