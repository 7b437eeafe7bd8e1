"""One message through a signed channel of a deployment in a cluster, followed in its database.

The reply goes to the channel's replyURL, where somebody else listens; what is shown is the reply as it is kept.
"""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable

from herald_agent.ask import Fate
from herald_cli import sending, signing
from herald_cli.kubectl import pods
from herald_cli.kubectl.api import Api, Forbidden
from herald_cli.kubectl.deployment import Deployment
from herald_cli.kubectl.door import Door
from herald_cli.receiving import Reply
from herald_cli.sending import NoAnswer, Sent
from herald_cli.signing import Client
from herald_contracts import identity
from herald_contracts.errors import ConfigurationError
from herald_contracts.messages import LiveUpdate
from herald_contracts.resources.v1alpha1.channels import Channel

_HERALD = "kubectl herald"
_LAST_CALL_SECONDS = 15.0  # for the platform to take a reply that is written


async def client(api: Api, deployment: Deployment, channel: Channel) -> Client:
    """Signs as the other side of the channel would; the Secret is read with the user's rights."""
    _, name = signing.choose([channel], channel.name)
    path = f"/api/v1/namespaces/{deployment.namespace}/secrets/{name}"
    try:
        body = await api.get(path)
    except Forbidden:
        raise Forbidden(
            f"you may not read Secret {name!r}, whose key signs for channel {channel.name!r}\n"
            f"  needed: the right to get secrets in namespace {deployment.namespace!r}; a web channel needs no key",
            403,
        ) from None
    value = ((body or {}).get("data") or {}).get("secret")
    if not value:
        raise ConfigurationError(f"Secret {name!r} has no key 'secret'", path=f"spec.channels: {channel.name}")
    return signing.of(channel, base64.b64decode(value))


async def send(
    api: Api,
    deployment: Deployment,
    client: Client,
    text: str,
    *,
    conversation: str,
    sender: str,
    timeout: float,
    on_text: Callable[[str], None],
    on_accepted: Callable[[Sent], None],
) -> Sent:
    """Post `text` and follow it until its fate is final. Raises NotAccepted, NoAnswer, and what `pods.ask` does."""
    sent = Sent(signing.event_id(), client.channel, conversation, listening=True)
    sent.witness = "as it is kept in the database"
    turn = identity.turn_id(identity.message_id(client.channel, sent.event))
    place = identity.conversation_id(client.channel, conversation, None)
    question = ("follow", "--turn", turn, "--channel", client.channel, "--conversation", place)
    limit = asyncio.timeout(timeout)
    try:
        async with limit, contextlib.aclosing(pods.ask(api, deployment, *question)) as answers:
            async for value in answers:
                if "following" in value:
                    await _post(api, deployment, client, sent, text, sender)
                    on_accepted(sent)
                elif "live" in value:
                    written = LiveUpdate.from_wire(json.dumps(value["live"]).encode()).text
                    if written and sent.first_text is None:
                        sent.first_text = sent.since()
                    on_text(written)
                elif "fate" in value:
                    _note(sent, Fate.model_validate(value["fate"]))
                    if sent.reply is not None:
                        # Whether its platform takes it is not ours to wait for at length.
                        now = asyncio.get_running_loop().time()
                        limit.reschedule(min(limit.when() or now, now + _LAST_CALL_SECONDS))
    except TimeoutError:
        if sent.reply is None:
            raise _nothing(sent, timeout) from None
    return sent


def _note(sent: Sent, fate: Fate) -> None:
    sent.row = fate.row
    if fate.reply is not None and (sent.reply is None or sent.reply.id != fate.reply.id):
        sent.reply = Reply(fate.reply.id, sent.event, fate.reply.kind, fate.reply.content)
    if fate.final and sent.reply is not None:
        sent.answered = sent.since()


def _nothing(sent: Sent, timeout: float) -> NoAnswer:
    if sent.accepted is None:
        return NoAnswer(f"nothing was sent: no worker answered within {timeout:g} s\n  see `{_HERALD} doctor`")
    state = sent.row.state if sent.row is not None else "waiting"
    return NoAnswer(
        f"no answer within {timeout:g} s; the message is accepted and {state}\n"
        f"  follow it with `{_HERALD} ledger --messages`, look for a cause with `{_HERALD} doctor`"
    )


async def _post(api: Api, deployment: Deployment, client: Client, sent: Sent, text: str, sender: str) -> None:
    body = sending.event(sent, text, sender)
    headers = {"Content-Type": "application/json", **client.headers(sent.event, body)}
    sent.begun = time.monotonic()
    status, told, _ = await Door(api, deployment).ask(
        "POST", f"/channels/{client.channel}/events", headers=headers, body=body
    )
    sending.judge(status, told, herald=_HERALD)
    sent.accepted = sent.since()
