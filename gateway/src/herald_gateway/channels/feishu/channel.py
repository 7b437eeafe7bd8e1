"""The Feishu channel as the gateway sees it: secrets, start and stop, and the parts put together."""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from starlette.routing import BaseRoute

from herald_contracts.errors import ConfigurationError, HeraldError, TemporaryError
from herald_contracts.messages import RawReference, Reply
from herald_contracts.settings import FeishuChannel as FeishuSettings
from herald_contracts.settings import Limits
from herald_gateway.channels.base import (
    Answer,
    ChannelContext,
    ChannelDown,
    Delivered,
    Inbound,
    RawRequest,
    Refused,
    WrongType,
)
from herald_gateway.channels.feishu import records
from herald_gateway.channels.feishu.api import Api
from herald_gateway.channels.feishu.delivery import Delivery
from herald_gateway.channels.feishu.pace import Pace
from herald_gateway.channels.feishu.parse import parse
from herald_gateway.channels.feishu.streaming import Streamer, asker
from herald_gateway.channels.feishu.verify import Keys, open_request
from herald_runtime import logs
from herald_runtime.secrets import SecretFolder

_SECRETS = {
    "app-secret": "copy it from Credentials & Basic Info in the app's console",
    "encrypt-key": "set an Encrypt Key under Events & Callbacks > Encryption Strategy: Herald takes no plaintext",
    "verification-token": "copy it from Events & Callbacks > Encryption Strategy",
}
_ASK_AGAIN = 30.0  # seconds: longest pause between two attempts to learn who we are

log = logs.get("feishu")


def create(settings: FeishuSettings) -> "FeishuChannel":
    return FeishuChannel(settings)


class FeishuChannel:
    """One Feishu app. See the port, herald_gateway.channels.base.Channel."""

    type: str = "feishu"
    methods: frozenset[str] = frozenset({"POST"})
    ack_deadline: float = 3.0  # 1 s for a challenge, which needs no publishing
    idempotent: bool = True
    on_unknown: Literal["resend", "hold"] = "resend"

    def __init__(self, settings: FeishuSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._secrets = SecretFolder(settings.secret)
        self._limits = Limits()
        self.bot: str | None = None  # our open_id, once the platform has told
        self._delivery: Delivery | None = None
        self._streamer: Streamer | None = None
        self._identity: asyncio.Task[None] | None = None

    def receive(self, request: RawRequest) -> Inbound:
        """Verify and parse one webhook request. Raises Refused and nothing else."""
        if request.path != "/events":
            raise Refused("unknown_path", status=404)
        _check_type(request)
        try:
            keys = Keys(self._secrets.live("encrypt-key"), self._secrets.live("verification-token"))
        except ConfigurationError:
            # Present at start, gone now: a rotation in progress. Feishu sends the event again.
            raise Refused("secrets_unavailable", status=503) from None
        opened = open_request(request, keys, self._settings.app_id, self._limits)
        if opened.challenge is not None:
            body = json.dumps({"challenge": opened.challenge}).encode()
            return Inbound(answer=Answer(body=body), ignored="challenge")
        raw = RawReference(sha256=hashlib.sha256(request.body).hexdigest(), size=len(request.body))
        return parse(opened.event, channel=self.name, bot=self.bot, received_at=request.received_at, raw=raw)

    async def send(self, reply: Reply, attempt: int) -> Delivered:
        """Deliver as a card. Raises ChannelDown, SendUnknown or Undeliverable."""
        if self._delivery is None:
            raise ChannelDown("the channel has not started")
        return await self._delivery.deliver(reply)

    async def start(self, context: ChannelContext) -> None:
        """Check the secrets, begin to learn who we are, listen for live updates. Raises ConfigurationError."""
        _check(self._settings, self._secrets)
        self._limits = context.limits
        api = Api(context.http, self._settings.base_url, self._settings.app_id, self._secrets)
        store = records.NatsRecords(context.nats, context.names.deliveries)
        pace = Pace()
        clock = asyncio.get_running_loop().time
        self._delivery = Delivery(api, store, pace, asker(context.nats), clock=clock, wall=time.time)
        self._identity = asyncio.create_task(self._learn(api), name=f"identity of {self.name}")
        if self._settings.streaming:
            subject = context.names.live_of(self.name)
            self._streamer = Streamer(api, store, pace, context.nats, subject, clock=clock, wall=time.time)
            await self._streamer.start()

    async def stop(self) -> None:
        if self._identity is not None:
            self._identity.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._identity
        if self._streamer is not None:
            await self._streamer.stop()

    def routes(self) -> Sequence[BaseRoute]:
        return ()

    async def _learn(self, api: Api) -> None:
        """Ask Feishu for our own open_id until it says: without it nobody can tell whether a group means us."""
        pause = 0.5
        while self.bot is None:
            try:
                self.bot = await api.bot_open_id()
            except HeraldError as e:
                level = log.warning if isinstance(e, TemporaryError) else log.error
                level("which bot this is, is not known yet; group messages wait", channel=self.name, problem=str(e))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _ASK_AGAIN)
        log.info("connected to feishu", channel=self.name, bot=self.bot)


def _check_type(request: RawRequest) -> None:
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise WrongType("content_type")
    if (request.header("content-encoding") or "identity").strip().lower() != "identity":
        raise WrongType("content_encoding")


def _check(settings: FeishuSettings, secrets: SecretFolder) -> None:
    for key, hint in _SECRETS.items():
        if not secrets.find(key):
            raise ConfigurationError(
                f"channel {settings.name}: the Secret has no {key!r}", path=str(settings.secret), hint=hint
            )
    url = urlsplit(settings.base_url)
    if url.scheme != "https" and not (url.scheme == "http" and _loopback(url.hostname)):
        raise ConfigurationError(
            f"channel {settings.name}: {settings.base_url!r} is not an https address",
            path="baseURL",
            hint="https://open.feishu.cn or https://open.larksuite.com",
        )
    if url.path not in ("", "/") or url.query or url.fragment or not url.hostname:
        raise ConfigurationError(
            f"channel {settings.name}: {settings.base_url!r} must be scheme and host only", path="baseURL"
        )


def _loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False
