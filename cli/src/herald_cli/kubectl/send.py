"""`kubectl herald send`: say something to a deployment, and show its answer."""

import asyncio
import sys
from collections.abc import Sequence

import click
from pydantic import ValidationError

from herald_cli import options
from herald_cli.commands.send import Shown, report
from herald_cli.kubectl import deployment as deployments
from herald_cli.kubectl.deployment import Deployment
from herald_cli.kubectl.target import Target, target_by_option
from herald_cli.sending import Sent
from herald_cli.style import of
from herald_contracts.errors import ConfigurationError
from herald_contracts.resources.v1alpha1.channels import Channel

_TYPES = "web, hmac, standardWebhooks"


@click.command("send")
@click.argument("text")
@click.option(
    "-c", "--channel", help="A channel of type web, hmac or standardWebhooks; default: the first, web before."
)
@click.option("--conversation", default="herald-send", show_default=True, help="The chat it is said in; not for web.")
@click.option("--sender", default="cli", show_default=True, help="Who says it; not for web.")
@click.option("--timeout", type=click.FloatRange(0.1), default=120, show_default=True, help="Seconds to wait.")
@options.as_json
@target_by_option
def command(
    text: str, channel: str | None, conversation: str, sender: str, timeout: float, json_: bool, target: Target
) -> None:
    """Post TEXT through the API server to the gateway, and show the answer as it is written.

    On a web channel it is one visit of the chat page, in a conversation of its own. On a signed channel it is an event
    of the outside client: its Secret is read with your rights, and the answer also goes to the channel's replyURL.
    The exit code is 0 for an answer, 1 when there was none.
    """
    shown = Shown(of(sys.stdout), quiet=json_, herald="kubectl herald")

    async def post() -> Sent:
        from herald_cli.kubectl import chat, signed
        from herald_cli.kubectl.api import connect

        async with connect(target) as api:
            found = await deployments.choose(api, target)
            way = choose(channels(found), channel)
            if way.web is not None:
                return await chat.send(
                    api, found, way.name, text, timeout=timeout, on_text=shown.text, on_accepted=shown.accepted
                )
            return await signed.send(
                api,
                found,
                await signed.client(api, found, way),
                text,
                conversation=conversation,
                sender=sender,
                timeout=timeout,
                on_text=shown.text,
                on_accepted=shown.accepted,
            )

    sent = asyncio.run(post())
    if json_:
        options.emit(report(sent))
    else:
        shown.final(sent)
    if not answered(sent):
        raise SystemExit(1)


def channels(deployment: Deployment) -> list[Channel]:
    """Those that this command can read: a type that is newer than it is left out."""
    found = []
    for body in deployment.spec.get("channels") or ():
        try:
            found.append(Channel.model_validate(body))
        except ValidationError:
            continue
    return found


def choose(found: Sequence[Channel], name: str | None) -> Channel:
    """The channel of this name, or the one by which nobody else is told: web before signed ones. Pure."""
    able = [c for c in found if c.web is not None or c.hmac is not None or c.standard_webhooks is not None]
    known = ", ".join(c.name for c in able) or "none"
    if name is not None:
        channel = next((c for c in found if c.name == name), None)
        if channel is None:
            raise ConfigurationError(f"there is no channel {name!r}", path="--channel", hint=f"there is: {known}")
        if channel not in able:
            raise ConfigurationError(f"{name!r} is of type {channel.type}", path="--channel", hint=f"needed: {_TYPES}")
        return channel
    if not able:
        raise ConfigurationError("no channel can be written to from here", path="spec.channels", hint=f"add: {_TYPES}")
    return next((c for c in able if c.web is not None), able[0])


def answered(sent: Sent) -> bool:
    """Whether there is an answer; without a record, by what was read. Pure."""
    if sent.row is None:
        return sent.reply is not None and sent.reply.kind == "answer"
    return sent.row.state in ("answered", "noted")
