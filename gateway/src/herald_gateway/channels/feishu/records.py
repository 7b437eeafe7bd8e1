"""Card records in the deliveries bucket: read, create, compare-and-set."""

from typing import Protocol

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import Header
from nats.js.errors import APIError, NotFoundError
from nats.js.errors import Error as JetStreamError

from herald_gateway.channels.base import ChannelDown
from herald_gateway.channels.feishu import cards
from herald_gateway.channels.feishu.cards import Card

_DEADLINE = 3.0  # seconds for one exchange with the server
_WRONG_SEQUENCE = frozenset((10071, 10164))


class Records(Protocol):
    """Each method raises ChannelDown when the store does not answer: whether a write happened is then unknown."""

    async def get(self, reply: str) -> tuple[Card, int] | None:
        """The record and its revision."""
        ...

    async def create(self, reply: str, card: Card) -> int | None:
        """The revision, or None when there is a record already."""
        ...

    async def update(self, reply: str, card: Card, revision: int) -> int | None:
        """The new revision, or None when the record is not at `revision` any more."""
        ...


class NatsRecords:
    """Keys are `card.<reply id>`, beside the delivery records, whose keys are reply ids.

    Reads go to the stream's leader: a holder that wakes up late must not read that it still holds the card.
    """

    def __init__(self, client: Client, bucket: str) -> None:
        self._stream = f"KV_{bucket}"
        self._prefix = f"$KV.{bucket}.card."
        self._js = client.jetstream(timeout=_DEADLINE)

    async def get(self, reply: str) -> tuple[Card, int] | None:
        try:
            found = await self._js.get_last_msg(self._stream, self._prefix + reply)
        except NotFoundError:
            return None
        except (NatsError, JetStreamError, TimeoutError, OSError) as e:
            raise _down(e) from None
        return cards.read(found.data or b""), found.seq or 0

    async def create(self, reply: str, card: Card) -> int | None:
        return await self.update(reply, card, 0)

    async def update(self, reply: str, card: Card, revision: int) -> int | None:
        headers = {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(revision)}
        try:
            return (await self._js.publish(self._prefix + reply, cards.write(card), headers=headers)).seq
        except APIError as e:
            if e.err_code in _WRONG_SEQUENCE:
                return None
            raise _down(e) from None
        except (NatsError, JetStreamError, TimeoutError, OSError) as e:
            # Written or not, the record knows.
            found = await self.get(reply)
            if found is not None and found[0] == card and found[1] > revision:
                return found[1]
            raise _down(e) from None


def _down(error: Exception) -> ChannelDown:
    return ChannelDown(f"no delivery records ({type(error).__name__})")
