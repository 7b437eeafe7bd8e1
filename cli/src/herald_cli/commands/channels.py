"""`herald channels`: what Herald makes of a webhook that somebody has captured."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from herald_cli import options
from herald_contracts.errors import ConfigurationError
from herald_gateway import captured
from herald_gateway.captured import Verdict

TYPES = ("hmac", "standardWebhooks", "feishu")


@click.group("channels")
def command() -> None:
    """Chat platforms: try a captured webhook."""


@command.command("check-request")
@click.option("--type", "kind", type=click.Choice(TYPES), required=True, help="The channel's type in a deployment.")
@click.option(
    "--secrets",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="The Secret: a folder of files, or a JSON file of keys and values.",
)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="A field of the channel, such as appId.")
@click.option("--bot", default="", help="The bot's own id on the platform, which a running channel asks for.")
@click.option("--at", metavar="TIME", help="When it came in (RFC 3339, or Unix seconds); now when left out.")
@click.argument("request", type=click.File("rb"), default="-")
def check_request(
    kind: str, secrets: Path, settings: tuple[str, ...], bot: str, at: str | None, request: BinaryIO
) -> None:
    """Judge the captured REQUEST (a JSON file, or standard input) as the gateway would, and print the verdict.

    Nothing has to run and nothing is sent. The exit code is 0 for a request that is taken, 1 for one that is refused.
    The format is in docs/channels/checking.md.
    """
    when = moment(at) if at is not None else datetime.now(UTC)
    with _folder(secrets) as folder:
        made = captured.channel(kind, folder, dict(map(_pair, settings)), bot)
        verdict = captured.judge(made, captured.read(request.read(), when))
    options.emit(report(verdict))
    if verdict.reason == "timestamp_out_of_range":
        click.echo("it is too old for now, or too new: say when it came in, with --at", err=True)
    if not verdict.accepted:
        raise SystemExit(1)


def moment(text: str) -> datetime:
    """The time that somebody typed. Raises ConfigurationError."""
    try:
        if text.replace(".", "", 1).isdecimal():
            return datetime.fromtimestamp(float(text), UTC)
        when = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise ConfigurationError("this is no time", path="--at", hint="such as 2026-11-22T12:00:00Z") from None
    return when.astimezone(UTC) if when.tzinfo is not None else when.replace(tzinfo=UTC)


def report(verdict: Verdict) -> dict[str, object]:
    """The JSON of a verdict. Pure."""
    answer = verdict.answer
    return {
        "accepted": verdict.accepted,
        "reason": verdict.reason or None,
        "field": verdict.field or None,
        "answer": {
            "status": answer.status,
            "content_type": answer.content_type,
            "body": answer.body.decode(errors="replace"),
        },
        "messages": [message.model_dump(mode="json", by_alias=True, exclude_none=True) for message in verdict.messages],
    }


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigurationError(f"{text!r} is no FIELD=VALUE", path="--set")
    return name, value


@contextlib.contextmanager
def _folder(secrets: Path) -> Iterator[Path]:
    """The Secret as a folder; where it is a file, one of our own for as long as it takes."""
    if secrets.is_dir():
        yield secrets
        return
    try:
        values = json.loads(secrets.read_bytes())
    except (OSError, ValueError):
        raise ConfigurationError("this is no JSON", path=str(secrets)) from None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ConfigurationError("it has to be one object of keys and texts", path=str(secrets))
    with tempfile.TemporaryDirectory(prefix="herald-") as folder:
        for name, value in values.items():
            if Path(name).name != name:
                raise ConfigurationError(f"{name!r} is no key of a Secret", path=str(secrets))
            (Path(folder) / name).write_text(value)
        yield Path(folder)
