"""One message through a signed channel, followed all the way: accepted, written, delivered, recorded."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import aiohttp
from nats.aio.msg import Msg

from herald_agent.store import ledger
from herald_agent.store.pool import Database
from herald_cli import access, signing
from herald_cli.receiving import Receiver, Reply
from herald_cli.signing import Client
from herald_cli.state import Snapshot, StateFolder
from herald_contracts.errors import MalformedMessage, PermanentError, TemporaryError
from herald_contracts.identity import conversation_id
from herald_contracts.ledger import OPEN, Row
from herald_contracts.messages import LiveUpdate

_LOOK_SECONDS = 0.1
_LAST_CALL_SECONDS = 10.0


class NotAccepted(PermanentError):
    """The gateway refused the message; it does not count as accepted."""


class NoAnswer(TemporaryError):
    """Nothing final within the time given. The message is accepted: Herald goes on with it."""


@dataclass(slots=True)
class Sent:
    """What became of it. Times are seconds from the moment it was posted."""

    event: str
    channel: str
    conversation: str
    accepted: float | None = None
    first_text: float | None = None
    answered: float | None = None
    reply: Reply | None = None
    row: Row | None = None
    listening: bool = False
    witness: str = "signature good"  # how we know of the reply
    begun: float = field(default_factory=time.monotonic)

    def since(self) -> float:
        return round(time.monotonic() - self.begun, 3)


async def send(
    folder: StateFolder,
    snapshot: Snapshot,
    client: Client,
    text: str,
    *,
    conversation: str,
    sender: str,
    timeout: float,
    on_text: Callable[[str], None],
    on_accepted: Callable[[Sent], None],
) -> Sent:
    """Post `text` and follow it until its fate is final. Raises NotAccepted or NoAnswer."""
    sent = Sent(signing.event_id(), client.channel, conversation)
    updates = access.names(snapshot).live(client.channel, conversation_id(client.channel, conversation, None))

    async def live(msg: Msg) -> None:
        with contextlib.suppress(MalformedMessage):
            update = LiveUpdate.from_wire(msg.data)
            if update.event_id == sent.event:
                if update.text and sent.first_text is None:
                    sent.first_text = sent.since()
                on_text(update.text)

    async with (
        access.nats(folder, snapshot) as nats,
        access.database(folder) as db,
        _listening(client) as receiver,
    ):
        sent.listening = receiver is not None
        await nats.subscribe(updates, cb=live)
        await nats.flush()
        sent.begun = time.monotonic()
        await _post(snapshot.gateway, client, sent, text, sender, timeout)
        on_accepted(sent)
        try:
            async with asyncio.timeout(timeout):
                await _follow(db, receiver, sent)
        except TimeoutError:
            state = sent.row.state if sent.row is not None else "waiting"
            raise NoAnswer(
                f"no answer within {timeout:g} s; the message is accepted and {state}\n"
                f"  follow it with `herald ledger --messages`, look for a cause with `herald doctor`"
            ) from None
    return sent


@contextlib.asynccontextmanager
async def _listening(client: Client) -> AsyncIterator[Receiver | None]:
    if not Receiver.possible(client):
        yield None
        return
    async with Receiver(client) as receiver:
        yield receiver


def event(sent: Sent, text: str, sender: str) -> bytes:
    """The event that is posted. Pure."""
    value = {
        "id": sent.event,
        "conversation": sent.conversation,
        "sender": {"id": sender, "name": sender},
        "text": text,
        "type": "message",
    }
    return json.dumps(value, ensure_ascii=False).encode()


def judge(status: int, told: str, *, herald: str = "herald") -> None:
    """Raises NoAnswer or NotAccepted unless the gateway has accepted. `herald`: the command that knows more."""
    if status == 503:
        raise NoAnswer(f"the gateway cannot store messages now (503)\n  look for a cause with `{herald} doctor`")
    if not 200 <= status < 300:
        raise NotAccepted(f"the gateway refused it: HTTP {status} {told[:300]}\n  see `{herald} logs gateway`")


async def _post(gateway: str, client: Client, sent: Sent, text: str, sender: str, timeout: float) -> None:
    body = event(sent, text, sender)
    url = f"{gateway}/channels/{client.channel}/events"
    headers = {"Content-Type": "application/json", **client.headers(sent.event, body)}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session,
            session.post(url, data=body, headers=headers) as response,
        ):
            judge(response.status, await response.text())
    except (aiohttp.ClientError, TimeoutError) as e:
        raise NoAnswer(f"no gateway at {url} ({type(e).__name__})\n  see `herald status`") from None
    sent.accepted = sent.since()


async def _follow(db: Database, receiver: Receiver | None, sent: Sent) -> None:
    """Until the ledger says that nothing more will happen, and the reply is here if we are the ones to take it."""
    last_call = None
    while True:
        while receiver is not None and not receiver.replies.empty():
            reply = receiver.replies.get_nowait()
            if reply.event == sent.event:
                sent.reply, sent.answered = reply, sent.since()
        sent.row = await ledger.message(db, channel=sent.channel, event=sent.event)
        if sent.row is not None and sent.row.state not in OPEN:
            # A failed turn is final before the person has been told.
            last_call = last_call or time.monotonic() + _LAST_CALL_SECONDS
            if receiver is None or sent.reply is not None or sent.row.state == "noted" or time.monotonic() > last_call:
                return
        await asyncio.sleep(_LOOK_SECONDS)
