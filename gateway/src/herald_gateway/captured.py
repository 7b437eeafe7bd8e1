"""One captured request, judged as the gateway would have judged it, with no platform and no NATS running.

For people who debug a webhook (`herald channels check-request`), and for tests of channels: both go the way of
`webhook.py`, from the method to the normalised messages; only making them durable is left out.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from herald_contracts.errors import ConfigurationError
from herald_contracts.messages import Message
from herald_contracts.settings import Channel as ChannelSettings
from herald_contracts.settings import Limits
from herald_gateway.channels import registry
from herald_gateway.channels.base import Answer, Channel, RawRequest, Refused, TooLarge
from herald_gateway.refusals import body_of
from herald_gateway.webhook import EVENTS, check_head

# What a channel must have to be made, and what no judgement of a request depends on.
_UNUSED = {"reply_url": "https://unused.invalid/"}
_NAME = "captured"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...]
    body: str | None = None
    body_base64: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` tells why it is refused, or why nothing is published; `field` which field is at fault."""

    accepted: bool
    reason: str
    field: str
    answer: Answer
    messages: tuple[Message, ...] = ()


def read(document: bytes, at: datetime) -> RawRequest:
    """A captured request (JSON: docs/channels/checking.md), as if it came in at that time (UTC).

    Raises ConfigurationError naming the field.
    """
    try:
        given = _Document.model_validate_json(document)
    except ValidationError as e:
        raise _unlike("the request", e) from None
    if (given.body is None) == (given.body_base64 is None):
        raise ConfigurationError("the request has to have one of them", path="body, body_base64")
    body = (given.body or "").encode()
    if given.body_base64 is not None:
        try:
            body = base64.b64decode(given.body_base64, validate=True)
        except (binascii.Error, ValueError):
            raise ConfigurationError("this is no base64", path="body_base64") from None
    for name, value in given.headers:
        try:
            f"{name}{value}".encode("latin-1")
        except UnicodeEncodeError:
            raise ConfigurationError("no HTTP header has such characters", path=f"headers: {name}") from None
    return RawRequest(
        method=given.method.upper(),
        path=given.path,
        query=given.query.removeprefix("?"),
        headers=tuple((name.lower(), value) for name, value in given.headers),
        body=body,
        received_at=at,
    )


def channel(kind: str, secrets: Path, settings: Mapping[str, str], bot: str = "") -> Channel:
    """A channel of this type that has not started. `secrets` is a folder of files, as a Secret is mounted;
    `settings` are the channel's fields in a deployment, such as appId; `bot` is what a running channel asks its
    platform: our own id there. Raises ConfigurationError.
    """
    mine = {"type": kind, "name": _NAME, "secret": secrets}
    given = {_snake(name): value for name, value in settings.items()}
    for name in given.keys() & mine:
        raise ConfigurationError("this is not to be set", path=name)
    wanted: dict[str, Any] = {**given, **mine}
    adapter: TypeAdapter[ChannelSettings] = TypeAdapter(ChannelSettings)
    try:
        made = registry.create(adapter.validate_python(wanted | _left_out(adapter, wanted)))
    except ValidationError as e:
        raise _unlike(f"a channel of type {kind}", e) from None
    if bot:
        if not hasattr(made, "bot"):
            raise ConfigurationError(f"a channel of type {kind} does not ask who it is", path="bot")
        made.bot = bot
    return made


def judge(made: Channel, request: RawRequest, limits: Limits | None = None) -> Verdict:
    """What the gateway answers, and what it would publish. Raises nothing for any request."""
    limits = limits or Limits()
    try:
        if not request.path.endswith(EVENTS):
            raise Refused("unknown_path", status=404)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
        check_head(made, request.method, headers, limits)
        if len(request.body) > limits.body_bytes:
            raise TooLarge("body_too_large")
        inbound = made.receive(replace(request, path=EVENTS))
    except Refused as e:
        return Verdict(False, e.reason, e.field, Answer(e.status, body_of(e)))
    return Verdict(True, inbound.ignored, "", inbound.answer, inbound.messages)


def _left_out(adapter: TypeAdapter[ChannelSettings], wanted: Mapping[str, Any]) -> dict[str, str]:
    try:
        adapter.validate_python(wanted)
    except ValidationError as e:
        missing = {error["loc"][-1] for error in e.errors() if error["type"] == "missing"}
        return {name: value for name, value in _UNUSED.items() if name in missing}
    return {}


def _snake(name: str) -> str:
    """appId as settings have it: app_id."""
    return re.sub("(?<=[a-z])([A-Z]+)", lambda m: f"_{m[1].lower()}", name)


def _unlike(what: str, error: ValidationError) -> ConfigurationError:
    first = error.errors(include_input=False, include_url=False)[0]
    path = ".".join(re.sub("_(.)", lambda m: m[1].upper(), str(part)) for part in first["loc"])
    return ConfigurationError(f"{what} is not as it should be: {first['msg'].lower()}", path=path)
