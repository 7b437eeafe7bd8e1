"""Publishing to JetStream with one shared acknowledgement inbox.

nats-py's `js.publish` spends 23 of its 26 microseconds on a subscription and a request per message. Here one
wildcard subscription takes every acknowledgement, and a future per message waits for its own.
A publish that times out has an unknown outcome (the server may well have stored it): callers retry with the
same message id, which the stream, and behind it PostgreSQL, recognises.
"""

import asyncio
import json
import secrets
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from herald_contracts.errors import TemporaryError

# JetStream error codes (nats-server errors.json): a stream that refuses because it is full or out of storage.
_FULL = frozenset({10023, 10047, 10077, 10122, 10054})


class NotStored(TemporaryError):
    """The server said no, or is not there: the message is not in the stream."""


class StreamFull(NotStored):
    """The stream refuses new messages until old ones have gone or its storage grows."""


class OutcomeUnknown(TemporaryError):
    """No acknowledgement in time: stored or not, nobody knows. Publish again with the same id."""


@dataclass(frozen=True, slots=True)
class Stored:
    stream: str
    sequence: int
    duplicate: bool


class Publisher:
    """`start` once, then `publish` from any task; `stop` fails what is still waiting."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._prefix = f"_INBOX.{secrets.token_hex(8)}"
        self._waiting: dict[str, asyncio.Future[Stored]] = {}
        self._next = 0

    async def start(self) -> None:
        await self._client.subscribe(f"{self._prefix}.*", cb=self._answered)

    async def stop(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(OutcomeUnknown("stopping"))
        self._waiting.clear()

    async def publish(self, subject: str, payload: bytes, message_id: str, *, deadline: float) -> Stored:
        """Store `payload`; returns once it is durable. `deadline` is in seconds.

        Raises StreamFull, NotStored or OutcomeUnknown; all are temporary.
        """
        if not self._client.is_connected:
            raise NotStored("not connected to NATS")
        self._next += 1
        token = str(self._next)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Stored] = loop.create_future()
        self._waiting[token] = future
        # Not asyncio.timeout: that costs as much as the rest of this method, and all that can wait here is the future.
        timer = loop.call_later(deadline, _expire, future, deadline)
        try:
            await self._client.publish(
                subject, payload, reply=f"{self._prefix}.{token}", headers={"Nats-Msg-Id": message_id}
            )
            return await future
        except (NatsError, OSError) as e:
            raise OutcomeUnknown(type(e).__name__) from None
        finally:
            timer.cancel()
            self._waiting.pop(token, None)

    async def _answered(self, msg: Msg) -> None:
        future = self._waiting.get(msg.subject.rpartition(".")[2])
        if future is None or future.done():
            return
        if msg.headers and msg.headers.get("Status") == "503":
            future.set_exception(NotStored("no stream takes this subject"))
            return
        try:
            answer = json.loads(msg.data)
            error = answer.get("error")
            if error:
                kind = StreamFull if error.get("err_code") in _FULL else NotStored
                future.set_exception(kind(f"{error.get('err_code')}: {error.get('description')}"))
            else:
                future.set_result(Stored(answer["stream"], answer["seq"], bool(answer.get("duplicate"))))
        except (ValueError, KeyError, AttributeError) as e:
            future.set_exception(OutcomeUnknown(f"unreadable acknowledgement ({type(e).__name__})"))


def _expire(future: asyncio.Future[Stored], deadline: float) -> None:
    if not future.done():
        future.set_exception(OutcomeUnknown(f"no acknowledgement within {deadline:g} s"))
