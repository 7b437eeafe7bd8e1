"""Calls an ASGI application without a server: what goes in byte for byte, what comes out as it was sent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Scope

JSON_HEADERS = ((b"host", b"gateway.test"), (b"content-type", b"application/json"))


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: ASGIApp,
    method: str = "POST",
    path: str = "/channels/hook/events",
    *,
    headers: Sequence[tuple[bytes, bytes]] = JSON_HEADERS,
    chunks: Sequence[bytes | None] = (b"",),
    client: str = "203.0.113.9",
) -> Reply | None:
    """The answer, or None when there was none. A chunk of None is the caller hanging up."""
    scope: Scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": list(headers),
        "client": (client, 4711),
        "server": ("gateway.test", 80),
        "scheme": "http",
        "http_version": "1.1",
        "state": {},
    }
    incoming = list(chunks)
    sent: list[Message] = []

    async def receive() -> Message:
        if not incoming:
            return {"type": "http.disconnect"}
        chunk = incoming.pop(0)
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(incoming)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return None
    start = sent[0]
    return Reply(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in sent[1:]),
    )


async def answered(app: ASGIApp, *args: Any, **kwargs: Any) -> Reply:
    """As `ask`, where an answer is due."""
    answer = await ask(app, *args, **kwargs)
    assert answer is not None
    return answer
