"""`herald send`: be the other side of a signed channel, once."""

import asyncio
import sys
from pathlib import Path

import click

from herald_cli import deployment_file, options, signing
from herald_cli.sending import Sent, send
from herald_cli.state import Snapshot, StateFolder
from herald_cli.style import Style, of, printable
from herald_contracts.ledger import MEANING
from herald_contracts.resources.v1alpha1 import AgentDeployment


@click.command("send")
@click.argument("text")
@click.option("-c", "--channel", help="An hmac or standardWebhooks channel; the first one when left out.")
@click.option("--conversation", default="herald-send", show_default=True, help="The chat it is said in.")
@click.option("--sender", default="cli", show_default=True, help="Who says it: memory and fair shares go by it.")
@click.option("--timeout", type=click.FloatRange(0.1), default=120, show_default=True, help="Seconds to wait.")
@options.as_json
@options.state
def command(
    text: str,
    channel: str | None,
    conversation: str,
    sender: str,
    timeout: float,
    json_: bool,
    folder: StateFolder,
) -> None:
    """Sign TEXT, post it as an outside client would, and show the answer as it is written.

    Where the channel's replyURL is a free port of this machine, this command takes the reply there and checks its
    signature. The exit code is 0 for an answer, 1 when there was none.
    """
    snapshot = folder.running()
    client = signing.client(deployment(snapshot), folder.secrets, channel)
    shown = Shown(of(sys.stdout), quiet=json_)
    sent = asyncio.run(
        send(
            folder,
            snapshot,
            client,
            text,
            conversation=conversation,
            sender=sender,
            timeout=timeout,
            on_text=shown.text,
            on_accepted=shown.accepted,
        )
    )
    if json_:
        options.emit(report(sent))
    else:
        shown.final(sent)
    if sent.row is None or sent.row.state not in ("answered", "noted"):
        raise SystemExit(1)


def deployment(snapshot: Snapshot) -> AgentDeployment:
    """What the running Herald was started with."""
    return deployment_file.read(Path(snapshot.file)).bundle.deployment


def report(sent: Sent) -> dict[str, object]:
    """The JSON of `herald send`. Pure."""
    reply = sent.reply
    return {
        "event": sent.event,
        "channel": sent.channel,
        "conversation": sent.conversation,
        "state": sent.row.state if sent.row is not None else None,
        "accepted_after": sent.accepted,
        "first_text_after": sent.first_text,
        "answered_after": sent.answered,
        "reply": {"id": reply.id, "kind": reply.kind, "text": reply.text} if reply is not None else None,
        "record": sent.row.model_dump(mode="json") if sent.row is not None else None,
    }


class Shown:
    """Prints the answer as it grows. Updates carry the whole text so far; only what is new is printed."""

    def __init__(self, style: Style, *, quiet: bool, herald: str = "herald") -> None:
        self._style = style
        self._herald = herald
        self._quiet = quiet
        self._printed = ""

    def accepted(self, sent: Sent) -> None:
        if not self._quiet:
            took = f"{(sent.accepted or 0) * 1000:.0f} ms"
            click.echo(self._style(f"accepted and durable after {took}, event {sent.event}", "dim"))

    def text(self, written: str) -> None:
        if self._quiet or not written:
            return
        if not written.startswith(self._printed):
            click.echo()  # another attempt: it begins anew
            self._printed = ""
        click.echo(printable(written[len(self._printed) :]), nl=False)
        sys.stdout.flush()
        self._printed = written

    def final(self, sent: Sent) -> None:
        if sent.reply is not None and sent.reply.text != self._printed:
            rest = sent.reply.text
            if rest.startswith(self._printed):
                rest = rest[len(self._printed) :]
            elif self._printed:
                click.echo()
            click.echo(printable(rest), nl=False)
        click.echo("\n")
        for line in record(sent, self._style, herald=self._herald):
            click.echo(line)


def record(sent: Sent, style: Style, *, herald: str = "herald") -> list[str]:
    """The delivery record for a person. Pure."""
    row = sent.row
    if row is None:
        return [style(f"no record yet: `{herald} ledger --messages`", "yellow")]
    sign = style("✓", "green") if row.state in ("answered", "noted") else style("✗", "red")
    lines = [f"{sign} {style(row.state, 'bold')}   turn {row.turn}   revision {row.revision or '-'}"]
    times = [("accepted", sent.accepted), ("first words", sent.first_text), ("reply delivered", sent.answered)]
    seen = "   ".join(f"{name} {value:.2f} s" for name, value in times if value is not None)
    lines.append(f"  {seen}")
    if sent.reply is not None:
        lines.append(f"  reply {sent.reply.id}, {sent.witness}; the platform's id {row.platform_message_id or '-'}")
    elif not sent.listening:
        lines.append("  the reply went to the channel's replyURL, where somebody else listens")
    if row.state == "replying":
        lines.append(f"  {style('not delivered yet:', 'yellow')} {MEANING[row.state]}")
    if row.reason:
        lines.append(f"  {style('reason:', 'yellow')} {printable(row.reason)}")
    if row.state == "dead":
        lines.append(f"  more: `{herald} dead-letters list`")
    return lines
