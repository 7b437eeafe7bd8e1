"""A Feishu that behaves as its documents say, and remembers everything.

`Feishu` is the platform's API: access tokens that end, messages and replies de-duplicated by `uuid` for one hour,
updates of cards, who the bot is. It can be slow, too busy, broken, or lose the connection after doing the work.
`Events` is its other side: it makes the requests that Feishu would send to a webhook, encrypted and signed.

What it knows is what a person would see, so a test counts messages here and not in Herald.
https://open.feishu.cn/document/server-docs/im-v1/message/reply, .../message/create, .../message-card/patch,
https://open.feishu.cn/document/server-docs/authentication-management/access-token/tenant_access_token_internal
"""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

HOUR = 3_600.0
BOT = "ou_0000000000000000000000000000b07"
Route = Literal["token", "create", "reply", "update", "bot"]


@dataclass
class Shown:
    """One message as people see it. `contents` is its history; the last one is what it shows now."""

    message_id: str
    chat: str
    reply_to: str | None
    kind: str
    uuid: str
    contents: list[str]
    times: list[float]

    @property
    def text(self) -> str:
        return text_of(self.kind, self.contents[-1])

    @property
    def growing(self) -> bool:
        """It still says that more is to come."""
        return '"notation"' in self.contents[-1]


@dataclass
class Call:
    route: Route
    at: float
    path: str
    body: dict[str, Any]
    status: int = 0
    code: int | None = None


@dataclass
class Trouble:
    """What the next call of a route meets. All of it at once, in this order."""

    wait: asyncio.Event | None = None  # before anything is done
    drop_before: bool = False  # the connection ends, nothing is done
    answer: tuple[int, dict[str, Any], dict[str, str]] | None = None  # nothing is done, this is said
    wait_after: asyncio.Event | None = None  # it is done, the answer waits
    drop_after: bool = False  # it is done, the connection ends


def refusal(code: int, status: int = 400, headers: dict[str, str] | None = None) -> Trouble:
    return Trouble(answer=(status, {"code": code, "msg": "made for a test"}, headers or {}))


def too_fast(reset: str | None = "1") -> Trouble:
    return refusal(99991400, 429, {"x-ogw-ratelimit-reset": reset} if reset else {})


@dataclass
class Feishu:
    """`async with Feishu() as feishu:` serves on 127.0.0.1; `feishu.url` is its base address."""

    app_id: str = "cli_herald"
    app_secret: str = "app-secret"
    token_seconds: int = 7_200
    port: int = 0  # a free one
    calls: list[Call] = field(default_factory=list)
    shown: dict[str, Shown] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict)  # token -> when it ends
    limits: bool = True  # 5 a second per chat (new messages) and per message (updates)
    url: str = ""
    _ahead: float = 0.0
    _troubles: dict[Route, deque[Trouble]] = field(default_factory=dict)
    _always: dict[Route, Trouble] = field(default_factory=dict)
    _uuids: dict[str, tuple[str, float]] = field(default_factory=dict)
    _under_way: set[str] = field(default_factory=set)
    _recent: dict[str, deque[float]] = field(default_factory=dict)
    _runner: web.AppRunner | None = None
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    def now(self) -> float:
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass for Feishu: tokens end, uuids are forgotten."""
        self._ahead += seconds

    def next(self, route: Route, *troubles: Trouble) -> None:
        """The next calls of `route` meet these, one each."""
        self._troubles.setdefault(route, deque()).extend(troubles)

    def always(self, route: Route, trouble: Trouble | None) -> None:
        """Every further call of `route` meets this; None ends it."""
        if trouble is None:
            self._always.pop(route, None)
        else:
            self._always[route] = trouble

    def count(self, route: Route) -> int:
        return Counter(call.route for call in self.calls)[route]

    @property
    def messages(self) -> list[Shown]:
        """All messages, in the order in which they appeared."""
        return list(self.shown.values())

    def answers_to(self, message_id: str) -> list[Shown]:
        return [m for m in self.shown.values() if m.reply_to == message_id]

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until `condition` holds; it is looked at after every call. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(condition)

    async def __aenter__(self) -> "Feishu":
        app = web.Application(client_max_size=4 * 2**20)
        app.router.add_post("/open-apis/auth/v3/tenant_access_token/internal", self._token)
        app.router.add_post("/open-apis/im/v1/messages", self._create)
        app.router.add_post("/open-apis/im/v1/messages/{id}/reply", self._reply)
        app.router.add_patch("/open-apis/im/v1/messages/{id}", self._update)
        app.router.add_get("/open-apis/bot/v3/info", self._bot)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # Routes

    async def _token(self, request: web.Request) -> web.StreamResponse:
        async def work(call: Call) -> tuple[int, dict[str, Any]]:
            if call.body.get("app_id") != self.app_id or call.body.get("app_secret") != self.app_secret:
                return 400, {"code": 10014, "msg": "app secret invalid"}
            now = self.now()
            # The same token comes back until less than 30 minutes of it are left.
            for token, ends in self.tokens.items():
                if ends - now >= 1_800:
                    return 200, {"code": 0, "tenant_access_token": token, "expire": int(ends - now)}
            token = f"t-{secrets.token_hex(16)}"
            self.tokens[token] = now + self.token_seconds
            return 200, {"code": 0, "msg": "ok", "tenant_access_token": token, "expire": self.token_seconds}

        return await self._served("token", request, work, authorised=False)

    async def _bot(self, request: web.Request) -> web.StreamResponse:
        async def work(_: Call) -> tuple[int, dict[str, Any]]:
            return 200, {"code": 0, "msg": "ok", "bot": {"activate_status": 2, "app_name": "Herald", "open_id": BOT}}

        return await self._served("bot", request, work)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        async def work(call: Call) -> tuple[int, dict[str, Any]]:
            chat = call.body.get("receive_id")
            if request.query.get("receive_id_type") != "chat_id" or not isinstance(chat, str):
                return 400, {"code": 230001, "msg": "receive_id"}
            return await self._posted(call, chat, None)

        return await self._served("create", request, work)

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        async def work(call: Call) -> tuple[int, dict[str, Any]]:
            target = request.match_info["id"]
            known = self.shown.get(target)
            return await self._posted(call, known.chat if known else f"chat of {target}", target)

        return await self._served("reply", request, work)

    async def _update(self, request: web.Request) -> web.StreamResponse:
        async def work(call: Call) -> tuple[int, dict[str, Any]]:
            message, content = self.shown.get(request.match_info["id"]), call.body.get("content")
            if message is None or message.kind != "interactive":
                return 400, {"code": 230001, "msg": "no such card"}
            problem = _card_problem(content)
            if problem or not isinstance(content, str):
                return 400, {"code": problem or 230099, "msg": "card"}
            if self._too_fast(message.message_id):
                return 400, {"code": 230020, "msg": "This operation triggers the frequency limit."}
            message.contents.append(content)
            message.times.append(call.at)
            return 200, {"code": 0, "msg": "success", "data": {}}

        return await self._served("update", request, work)

    async def _posted(self, call: Call, chat: str, reply_to: str | None) -> tuple[int, dict[str, Any]]:
        uuid, kind, content = call.body.get("uuid", ""), call.body.get("msg_type"), call.body.get("content")
        if not isinstance(uuid, str) or len(uuid) > 50 or not isinstance(content, str):
            return 400, {"code": 230001, "msg": "parameter"}
        if kind == "interactive" and (problem := _card_problem(content)):
            return 400, {"code": problem, "msg": "card"}
        if len(json.dumps(call.body, ensure_ascii=False).encode()) > 30_000:
            return 400, {"code": 230025, "msg": "The length of the message content reaches its limit."}
        message_id, until = self._uuids.get(uuid, ("", 0.0))
        if not uuid or self.now() >= until:
            if self._too_fast(chat):
                return 400, {"code": 230020, "msg": "This operation triggers the frequency limit."}
            message_id = f"om_{secrets.token_hex(16)}"
            self._uuids[uuid] = (message_id, self.now() + HOUR)
            self.shown[message_id] = Shown(message_id, chat, reply_to, str(kind), uuid, [content], [call.at])
        return 200, {"code": 0, "msg": "success", "data": {"message_id": message_id, "chat_id": chat}}

    def _too_fast(self, key: str) -> bool:
        recent = self._recent.setdefault(key, deque())
        now = self.now()
        while recent and now - recent[0] >= 1.0:
            recent.popleft()
        if self.limits and len(recent) >= 5:
            return True
        recent.append(now)
        return False

    async def _served(
        self, route: Route, request: web.Request, work: Any, *, authorised: bool = True
    ) -> web.StreamResponse:
        raw = await request.read()
        call = Call(route, time.monotonic(), request.path, json.loads(raw) if raw else {})
        self.calls.append(call)
        uuid = str(call.body.get("uuid", ""))
        try:
            waiting = self._troubles.get(route)
            trouble = waiting.popleft() if waiting else self._always.get(route, Trouble())
            answer: dict[str, Any]
            headers: dict[str, str] = {}
            if uuid and uuid in self._under_way:
                call.status, answer = 400, {"code": 230049, "msg": "The message is being sent."}
            else:
                self._under_way.update([uuid] if uuid else [])
                try:
                    if trouble.wait is not None:
                        await trouble.wait.wait()
                    if trouble.drop_before:
                        return _dropped(request)
                    if trouble.answer is not None:
                        call.status, answer, headers = trouble.answer
                    elif authorised and not self._valid(request):
                        call.status, answer = 400, {"code": 99991663, "msg": "Invalid access token for authorization."}
                    else:
                        call.status, answer = await work(call)
                finally:
                    self._under_way.discard(uuid)
                if trouble.wait_after is not None:
                    await self._tell()
                    await trouble.wait_after.wait()
            call.code = answer.get("code")
            if trouble.drop_after:
                return _dropped(request)
            return web.json_response(answer, status=call.status, headers={"X-Tt-Logid": "log-1", **headers})
        finally:
            await self._tell()

    def _valid(self, request: web.Request) -> bool:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return kind == "Bearer" and self.now() < self.tokens.get(token, 0.0)

    async def _tell(self) -> None:
        async with self._arrived:
            self._arrived.notify_all()


def _dropped(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _card_problem(content: object) -> int:
    """The code with which Feishu refuses this card, 0 for none."""
    try:
        card = json.loads(content) if isinstance(content, str) else None
    except ValueError:
        card = None
    if (
        not isinstance(card, dict)
        or card.get("schema") != "2.0"
        or card.get("config", {}).get("update_multi") is not True
    ):
        return 230099
    if isinstance(content, str) and len(content.encode()) > 30_000:
        return 230025
    return 0


def text_of(kind: str, content: str) -> str:
    """What a person reads in a message of ours."""
    value = json.loads(content)
    if kind == "post":
        return "\n".join(e.get("text", "") for line in value["zh_cn"]["content"] for e in line)
    elements = value["body"]["elements"]
    texts = [e.get("content") or e.get("text", {}).get("content", "") for e in elements if e.get("text_size") is None]
    return "\n".join(texts)


# The other side: what Feishu sends to a webhook.


@dataclass(frozen=True)
class Signed:
    """A request ready to be posted. `message_id` is what Herald knows the event by, for messages."""

    body: bytes
    headers: dict[str, str]
    event_id: str = ""
    message_id: str = ""


@dataclass
class Events:
    """Makes inbound requests. `at` (Unix seconds) and ids are drawn where they are not given."""

    encrypt_key: str = "encrypt-key"
    token: str = "verification-token"
    app_id: str = "cli_herald"

    def message(
        self,
        text: str = "hello",
        *,
        chat: str = "oc_chat",
        sender: str = "ou_person",
        kind: str = "text",
        content: str | None = None,
        group: bool = False,
        mentions: list[dict[str, Any]] | None = None,
        **fields: Any,
    ) -> Signed:
        """A received message. `fields` go into the event's `message` (`thread_id`, `parent_id`, ...)."""
        message = {
            "message_id": f"om_{secrets.token_hex(16)}",
            "create_time": str(int(time.time() * 1000)),
            "chat_id": chat,
            "chat_type": "group" if group else "p2p",
            "message_type": kind,
            "content": json.dumps({"text": text}) if content is None else content,
            **({"mentions": mentions} if mentions is not None else {}),
            **fields,
        }
        event = {"sender": person(sender), "message": message}
        return self.event("im.message.receive_v1", event, message_id=message["message_id"])

    def event(self, kind: str, event: dict[str, Any], *, message_id: str = "", event_id: str = "") -> Signed:
        """Any event of schema 2.0, encrypted and signed."""
        event_id = event_id or secrets.token_hex(16)
        header = {
            "event_id": event_id,
            "event_type": kind,
            "create_time": str(int(time.time() * 1000)),
            "token": self.token,
            "app_id": self.app_id,
            "tenant_key": "tenant",
        }
        sealed = self.sealed({"schema": "2.0", "header": header, "event": event})
        return Signed(sealed.body, sealed.headers, event_id, message_id)

    def event_v1(self, event: dict[str, Any]) -> Signed:
        """An event of the old schema."""
        uuid = secrets.token_hex(16)
        value = {
            "uuid": uuid,
            "token": self.token,
            "ts": f"{time.time():.6f}",
            "type": "event_callback",
            "event": {"app_id": self.app_id, **event},
        }
        sealed = self.sealed(value)
        return Signed(sealed.body, sealed.headers, uuid)

    def challenge(self, challenge: str = "4a5b", *, encrypted: bool = True) -> Signed:
        """The request that checks a webhook address: it comes without a signature, even when encrypted."""
        value = {"challenge": challenge, "token": self.token, "type": "url_verification"}
        plain = json.dumps(value)
        body = json.dumps({"encrypt": encrypt(plain.encode(), self.encrypt_key)}) if encrypted else plain
        return Signed(body.encode(), {"content-type": "application/json; charset=utf-8"})

    def sealed(self, value: Any, *, at: float | None = None, nonce: str | None = None) -> Signed:
        """Any value, encrypted and signed."""
        body = json.dumps({"encrypt": encrypt(json.dumps(value).encode(), self.encrypt_key)}).encode()
        return Signed(body, self.headers(body, at=at, nonce=nonce))

    def headers(self, body: bytes, *, at: float | None = None, nonce: str | None = None) -> dict[str, str]:
        timestamp = str(int(time.time() if at is None else at))
        nonce = secrets.token_hex(8) if nonce is None else nonce
        signature = hashlib.sha256(timestamp.encode() + nonce.encode() + self.encrypt_key.encode() + body)
        return {
            "content-type": "application/json; charset=utf-8",
            "x-lark-request-timestamp": timestamp,
            "x-lark-request-nonce": nonce,
            "x-lark-signature": signature.hexdigest(),
        }


def encrypt(data: bytes, key: str, iv: bytes | None = None) -> str:
    """base64(iv + AES-256-CBC(data, sha256(key))), PKCS#7, as Feishu does it."""
    iv = os.urandom(16) if iv is None else iv
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(hashlib.sha256(key.encode()).digest()), modes.CBC(iv)).encryptor()
    padded = padder.update(data) + padder.finalize()
    return base64.b64encode(iv + encryptor.update(padded) + encryptor.finalize()).decode()


def person(open_id: str, kind: str = "user") -> dict[str, Any]:
    """The `sender` of an event."""
    return {"sender_id": {"open_id": open_id, "union_id": "on_x", "user_id": "u_x"}, "sender_type": kind}


def mention(key: str, open_id: str, name: str) -> dict[str, Any]:
    """One entry of an event's `mentions`."""
    return {"key": key, "id": {"open_id": open_id, "union_id": "on_y", "user_id": ""}, "name": name, "tenant_key": "t"}


AT_BOT = mention("@_user_1", BOT, "Herald")
