"""One message on a deployment's chat page, as its script does it: a session, the transcript's stream, a post.

Nothing but the Service is needed for it: no Secret, no database. A session of our own is begun for each message.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import aiohttp

from herald_agent.ask import Fate
from herald_cli import sending, signing
from herald_cli.kubectl import pods
from herald_cli.kubectl.api import Api
from herald_cli.kubectl.deployment import Deployment
from herald_cli.kubectl.door import Door
from herald_cli.receiving import Reply
from herald_cli.sending import NoAnswer, Sent
from herald_contracts import identity
from herald_contracts.errors import HeraldError

_HERALD = "kubectl herald"
_AGAIN_SECONDS = 1.0
_RECORD_SECONDS = 15.0
# What a browser says of a request that our own page makes (W3C Fetch Metadata).
_PAGE = {"Sec-Fetch-Site": "same-origin"}


async def send(
    api: Api,
    deployment: Deployment,
    channel: str,
    text: str,
    *,
    timeout: float,
    on_text: Callable[[str], None],
    on_accepted: Callable[[Sent], None],
) -> Sent:
    """Post `text` and read its answer. Raises NotAccepted, NoAnswer, Forbidden, Unreachable."""
    page = Page(Door(api, deployment), channel)
    sent = Sent(signing.event_id(), channel, "", witness="as the chat page shows it", listening=True)
    message = ""
    try:
        async with asyncio.timeout(timeout):
            await page.begin()
            async with contextlib.aclosing(page.events()) as events:
                async for event in events:
                    kind = event.get("type")
                    if kind == "caught-up" and sent.accepted is None:
                        sent.begun = time.monotonic()
                        message = await page.post(sent.event, text)
                        sent.accepted = sent.since()
                        on_accepted(sent)
                    elif kind == "live" and event.get("to") == sent.event and event.get("text"):
                        sent.first_text = sent.first_text or sent.since()
                        on_text(str(event["text"]))
                    elif kind == "reply" and event.get("to") == sent.event:
                        sent.answered = sent.since()
                        sent.reply = Reply(str(event["id"]), sent.event, str(event["kind"]), str(event["text"]))
                        break
    except TimeoutError:
        if sent.accepted is None:
            raise NoAnswer(f"the chat page did not answer within {timeout:g} s\n  see `{_HERALD} doctor`") from None
        raise NoAnswer(
            f"no answer within {timeout:g} s; the message is accepted\n"
            f"  follow it with `{_HERALD} ledger --messages`, look for a cause with `{_HERALD} doctor`"
        ) from None
    # Whoever may not run commands in pods has the answer all the same.
    with contextlib.suppress(HeraldError, TimeoutError):
        await _record(api, deployment, sent, identity.turn_id(message))
    return sent


async def _record(api: Api, deployment: Deployment, sent: Sent, turn: str) -> None:
    async with (
        asyncio.timeout(_RECORD_SECONDS),
        contextlib.aclosing(pods.ask(api, deployment, "follow", "--turn", turn)) as answers,
    ):
        async for value in answers:
            if "fate" in value:
                sent.row = Fate.model_validate(value["fate"]).row


class Page:
    """One visit."""

    def __init__(self, door: Door, channel: str) -> None:
        self._door = door
        self._root = f"/channels/{channel}"
        self._headers = dict(_PAGE)
        self._place = "0"

    async def begin(self) -> None:
        status, told, headers = await self._door.ask("POST", f"{self._root}/session", headers=self._headers)
        sending.judge(status, told, herald=_HERALD)
        self._headers["Cookie"] = headers.get("Set-Cookie", "").partition(";")[0]

    async def post(self, event: str, text: str) -> str:
        """The message's id."""
        body = json.dumps({"id": event, "chat": "", "text": text}, ensure_ascii=False).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        status, told, _ = await self._door.ask("POST", f"{self._root}/events", headers=headers, body=body)
        sending.judge(status, told, herald=_HERALD)
        return str(json.loads(told)["message"])

    async def events(self) -> AsyncGenerator[dict[str, Any]]:
        """What happens in the conversation, without end: a line that breaks is taken up where it was."""
        while True:
            path = f"{self._root}/stream?chat=&after={self._place}"
            async with self._door.stream("GET", path, headers=self._headers) as response:
                if response.status != 503:
                    if response.status != 200:
                        sending.judge(response.status, await response.text(errors="replace"), herald=_HERALD)
                    async for event in self._read(response):
                        yield event
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _read(self, response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any]]:
        """Server-sent events (WHATWG HTML, 9.2), as far as the chat page uses them: `id` and one line of `data`."""
        async for raw in response.content:
            name, _, value = raw.decode(errors="replace").rstrip("\r\n").partition(": ")
            if name == "id":
                self._place = value
            elif name == "data":
                with contextlib.suppress(ValueError):
                    yield json.loads(value)
