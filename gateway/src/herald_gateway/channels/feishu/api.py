"""Feishu's HTTP API, as far as Herald uses it: token, send, reply, update a card, who am I.

Each call either returns, or raises one of the port's three errors: ChannelDown (nothing was done), SendUnknown
(nobody knows), Undeliverable (never). Every call may be repeated: messages carry a `uuid`, the others set a state.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

import aiohttp

from herald_contracts.errors import ConfigurationError
from herald_gateway.channels.base import ChannelDown, SendUnknown, Undeliverable
from herald_gateway.channels.feishu.outcome import Meaning, Outcome, classify
from herald_gateway.channels.feishu.tokens import Token, Tokens
from herald_runtime import logs
from herald_runtime.secrets import SecretFolder

CREATE_SECONDS = 6.0  # longest wait for the answer to a new message
UPDATE_SECONDS = 4.0  # longest wait for the answer to an update of a card
_OTHER_SECONDS = 6.0
_ANSWER_BYTES = 1_048_576

log = logs.get("feishu")


class Limited(ChannelDown):
    """Too fast for Feishu."""


class StillSending(SendUnknown):
    """Feishu is working on another request with the same uuid."""


class Rejected(Undeliverable):
    """Feishu refused for good. `outcome` says what, where another form may still do."""

    def __init__(self, reason: str, outcome: Outcome) -> None:
        super().__init__(reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class _Answer:
    meaning: Meaning
    body: dict[str, Any]
    note: str  # code, text and log id, for people


class Api:
    """One app on one Feishu. `base_url` has no path."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, app_id: str, secrets: SecretFolder) -> None:
        self._http = http
        self._base = base_url.rstrip("/")
        self._app_id = app_id
        self._secrets = secrets
        self._tokens = Tokens(self._fetch_token, asyncio.get_running_loop().time)

    async def create(self, chat: str, reply_to: str | None, kind: str, content: str, uuid: str) -> str:
        """Send a message to a chat, as an answer to `reply_to` if there is one; returns its message_id.

        The same `uuid` within an hour returns the message that is there (whatever its content is by now).
        """
        body = {"msg_type": kind, "content": content, "uuid": uuid}
        if reply_to is None:
            path = "/open-apis/im/v1/messages?receive_id_type=chat_id"
            body["receive_id"] = chat
        else:
            path = f"/open-apis/im/v1/messages/{quote(reply_to, safe='')}/reply"
        answer = await self._call("POST", path, body, CREATE_SECONDS)
        data = answer.body.get("data")
        message_id = data.get("message_id") if isinstance(data, dict) else None
        if not isinstance(message_id, str) or not message_id or len(message_id) > 512:
            raise SendUnknown("feishu sent no message_id")
        return message_id

    async def update(self, message_id: str, content: str) -> None:
        """Replace the content of a card that we sent."""
        path = f"/open-apis/im/v1/messages/{quote(message_id, safe='')}"
        await self._call("PATCH", path, {"content": content}, UPDATE_SECONDS)

    async def bot_open_id(self) -> str:
        """Our own open_id (https://open.feishu.cn/document/client-docs/bot-v3/obtain-bot-info)."""
        answer = await self._call("GET", "/open-apis/bot/v3/info", None, _OTHER_SECONDS)
        bot = answer.body.get("bot")
        open_id = bot.get("open_id") if isinstance(bot, dict) else None
        if not isinstance(open_id, str) or not open_id:
            raise ChannelDown("feishu did not say which bot this is")
        return open_id

    async def _call(self, method: str, path: str, body: dict[str, Any] | None, seconds: float) -> _Answer:
        token = await self._tokens.get()
        answer = await self._exchange(method, path, body, seconds, token)
        if answer.meaning.outcome is Outcome.TOKEN:
            self._tokens.drop(token)
            answer = await self._exchange(method, path, body, seconds, await self._tokens.get())
        if answer.meaning.outcome is not Outcome.DONE:
            _raise(answer)
        return answer

    async def _fetch_token(self) -> Token:
        """Tries the previous secret, too, so that a rotation has no moment in which neither works."""
        try:
            live = self._secrets.live("app-secret")
        except ConfigurationError as e:
            raise ChannelDown(str(e)) from None
        for secret in live:
            body = {"app_id": self._app_id, "app_secret": secret.decode("utf-8", "replace")}
            try:
                answer = await self._exchange(
                    "POST", "/open-apis/auth/v3/tenant_access_token/internal", body, _OTHER_SECONDS, None
                )
            except SendUnknown as e:
                # Fetching again does no harm.
                raise ChannelDown(str(e)) from None
            if answer.meaning.outcome is Outcome.DONE:
                value, seconds = answer.body.get("tenant_access_token"), answer.body.get("expire")
                if isinstance(value, str) and value.isascii() and value.isprintable() and type(seconds) is int:
                    return Token(value, float(min(seconds, 86_400)))
                raise ChannelDown("feishu sent no access token")
            if answer.meaning.outcome is not Outcome.SETUP:
                break
        log.error("no access token", answer=answer.note, hint="check app id, app-secret and that the app is published")
        raise ChannelDown(f"no access token: {answer.note}", retry_after=answer.meaning.retry_after)

    async def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None, seconds: float, token: str | None
    ) -> _Answer:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        repeated = False
        while True:
            try:
                async with self._http.request(
                    method,
                    self._base + path,
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, 3.0)),
                ) as response:
                    answer = _answer(response.status, response.headers, await _read(response))
                    if repeated and answer.meaning.outcome is not Outcome.DONE:
                        # This answer is about the second request only; the first may have done it all.
                        raise SendUnknown(f"feishu closed the connection, then: {answer.note}")
                    return answer
            except aiohttp.ServerDisconnectedError:
                # Most often a connection that was kept too long. Repeating is safe, see above.
                if repeated:
                    raise SendUnknown("feishu closed the connection") from None
                repeated = True
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as e:
                if repeated:
                    raise SendUnknown("feishu closed the connection") from None
                raise ChannelDown(f"feishu cannot be reached ({type(e).__name__})") from None
            except (aiohttp.ClientError, TimeoutError) as e:
                raise SendUnknown(f"no answer from feishu ({type(e).__name__})") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        raw += chunk
        if len(raw) > _ANSWER_BYTES:
            raise SendUnknown("feishu's answer is too long")
    return bytes(raw)


def _answer(status: int, headers: Mapping[str, str], raw: bytes) -> _Answer:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    body = value if isinstance(value, dict) else {}
    code = body.get("code")
    if type(code) is not int:
        code = None
    wait = headers.get("x-ogw-ratelimit-reset") or headers.get("Retry-After")
    note = f"HTTP {status} code {code} {_printable(body.get('msg'))} log {_printable(headers.get('X-Tt-Logid'))}"
    return _Answer(classify(status, code, wait), body, note)


def _printable(text: object) -> str:
    return re.sub(r"[^ -~]", "?", text)[:200] if isinstance(text, str) else "-"


def _raise(answer: _Answer) -> NoReturn:
    outcome = answer.meaning.outcome
    if outcome is Outcome.LIMITED:
        raise Limited(f"feishu: too fast: {answer.note}", retry_after=answer.meaning.retry_after)
    if outcome is Outcome.SENDING:
        raise StillSending(f"feishu: {answer.note}")
    if outcome is Outcome.UNKNOWN:
        raise SendUnknown(f"feishu: {answer.note}")
    if outcome in (Outcome.SETUP, Outcome.TOKEN):
        log.error("feishu refuses until its console is changed", answer=answer.note)
        raise ChannelDown(f"feishu setup: {answer.note}", retry_after=30.0)
    if outcome is Outcome.DOWN:
        raise ChannelDown(f"feishu: {answer.note}", retry_after=answer.meaning.retry_after)
    raise Rejected(f"feishu: {answer.note}", outcome)
