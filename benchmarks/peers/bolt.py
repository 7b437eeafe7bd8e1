"""slack-bolt behind Starlette: verifies Slack's signature, dispatches to a listener that does nothing, answers.

It stores nothing, so an event it has answered is gone if it dies; that is what Herald's gateway is measured against.
`authorize` answers from memory: bolt's default would call slack.com.
"""

import os

from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_ALLOWED = AuthorizeResult(
    enterprise_id=None, team_id="T0001", bot_token="xoxb-unused", bot_id="B0001", bot_user_id="U0002"
)


async def authorize() -> AuthorizeResult:
    return _ALLOWED


async def listen() -> None:
    """The listener: what an agent would do is not part of the comparison."""


bolt = AsyncApp(signing_secret=os.environ["SLACK_SIGNING_SECRET"], authorize=authorize)
bolt.event("message")(listen)
handler = AsyncSlackRequestHandler(bolt)


async def events(request: Request) -> Response:
    answer: Response = await handler.handle(request)
    return answer


app = Starlette(routes=[Route("/events", events, methods=["POST"])])
