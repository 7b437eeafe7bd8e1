"""Which channel is written to, and when there is an answer."""

from typing import Any

import pytest

from herald_cli.kubectl import send
from herald_cli.receiving import Reply
from herald_cli.sending import Sent
from herald_contracts.errors import ConfigurationError
from herald_contracts.resources.v1alpha1.channels import Channel
from tests.unit.cli.kubectl.resources import deployment
from tests.unit.cli.test_reports import ROW

WEB = {"name": "web", "web": {}}
HOOKS = {"name": "hooks", "hmac": {"secretRef": {"name": "hooks"}, "replyURL": "http://platform.acme.svc/x"}}
FEISHU = {"name": "lark", "feishu": {"appId": "cli_a1b2c3d4", "secretRef": {"name": "lark"}}}
NEWER = {"name": "telepathy", "telepathy": {}}


def channels(*bodies: dict[str, Any]) -> list[Channel]:
    return send.channels(deployment(spec={"channels": list(bodies)}))


@pytest.mark.parametrize(
    ("bodies", "name", "chosen"),
    [
        ([HOOKS, WEB], None, "web"),
        ([FEISHU, HOOKS], None, "hooks"),
        ([WEB, HOOKS], "hooks", "hooks"),
        ([NEWER, HOOKS], None, "hooks"),
    ],
)
def test_the_channel_that_is_written_to(bodies: list[dict[str, Any]], name: str | None, chosen: str) -> None:
    assert send.choose(channels(*bodies), name).name == chosen


@pytest.mark.parametrize(
    ("bodies", "name", "text"),
    [
        ([WEB, HOOKS], "nope", r"no channel 'nope' \(there is: web, hooks\)"),
        ([WEB, FEISHU], "lark", "'lark' is of type feishu"),
        ([FEISHU], None, "no channel can be written to"),
        ([], None, "no channel can be written to"),
    ],
)
def test_a_channel_that_cannot_be_written_to(bodies: list[dict[str, Any]], name: str | None, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        send.choose(channels(*bodies), name)


ANSWER = Reply("r1", "e1", "answer", "Yes.")
FAILURE = Reply("r1", "e1", "failure", "Something went wrong.")


@pytest.mark.parametrize(
    ("reply", "state", "answered"),
    [
        (ANSWER, "answered", True),
        (ANSWER, None, True),
        (ANSWER, "replying", False),
        (FAILURE, None, False),
        (FAILURE, "dead", False),
        (None, None, False),
    ],
)
def test_when_there_is_an_answer(reply: Reply | None, state: str | None, answered: bool) -> None:
    row = ROW.model_copy(update={"state": state}) if state is not None else None
    assert send.answered(Sent("e1", "web", "", reply=reply, row=row)) is answered
