"""Our reading of Feishu's formats against an independent one: the code of its own SDK.

Here and not among the unit tests because importing the SDK takes many seconds.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from herald_gateway.channels.base import Unauthenticated
from tests.fakes.feishu import Events, encrypt
from tests.unit.gateway.feishu.requests import EVENTS, channel, receive, request

# In a process of its own: importing the SDK takes seconds and warns about its own dependencies.
_SDK = """
import json, sys, warnings
warnings.simplefilter("ignore")
from lark_oapi.core.model import RawRequest
from lark_oapi.core.utils import AESCipher
from lark_oapi.event.dispatcher_handler import EventDispatcherHandler
given = json.load(sys.stdin)
seen = []
handler = (
    EventDispatcherHandler.builder(given["key"], given["token"])
    .register_p2_im_message_receive_v1(lambda event: seen.append(event.event.message.content))
    .build()
)
answers = []
for item in given["requests"]:
    raw = RawRequest()
    raw.uri, raw.body, raw.headers = "/", item["body"].encode(), item["headers"]
    answer = handler.do(raw)
    answers.append([answer.status_code, answer.content.decode()])
plain = [AESCipher(given["key"]).decrypt_str(text) for text in given["sealed"]]
print(json.dumps({"answers": answers, "seen": seen, "plain": plain}))
"""


def test_the_sdk_agrees_with_us(tmp_path: Path) -> None:
    """Good, forged and challenge requests get the same verdict from Feishu's SDK and from us."""
    texts = ["hello", "\u4f60\u597d \U0001f600", "x" * 5_000]
    good = [EVENTS.message(text) for text in texts]
    forged = Events(encrypt_key="guessed").message("forged")
    wrong_token = Events(token="guessed").message("forged")
    unsigned = EVENTS.message("unsigned")
    challenge = EVENTS.challenge("abc")
    canonical = {
        "timestamp": "X-Lark-Request-Timestamp",
        "nonce": "X-Lark-Request-Nonce",
        "signature": "X-Lark-Signature",
    }

    def as_sdk_wants(headers: dict[str, str]) -> dict[str, str]:
        return {next((c for end, c in canonical.items() if k.endswith(end)), k): v for k, v in headers.items()}

    requests = [*good, forged, wrong_token, challenge]
    given = {
        "key": EVENTS.encrypt_key,
        "token": EVENTS.token,
        "requests": [{"body": r.body.decode(), "headers": as_sdk_wants(r.headers)} for r in requests]
        + [{"body": unsigned.body.decode(), "headers": {"content-type": "application/json"}}],
        "sealed": [encrypt(text.encode(), EVENTS.encrypt_key) for text in texts],
    }
    run = subprocess.run(
        [sys.executable, "-c", _SDK], input=json.dumps(given), capture_output=True, text=True, timeout=100, check=True
    )
    sdk = json.loads(run.stdout.splitlines()[-1])  # it logs to standard output
    assert sdk["plain"] == texts
    assert [json.loads(content)["text"] for content in sdk["seen"]] == texts
    assert [status for status, _ in sdk["answers"]] == [200, 200, 200, 500, 500, 200, 500]
    assert json.loads(sdk["answers"][5][1]) == {"challenge": "abc"}

    made = channel(tmp_path)
    assert [receive(made, signed).messages[0].content for signed in good] == texts
    assert json.loads(receive(made, challenge).answer.body) == {"challenge": "abc"}
    for bad in (request(forged), request(wrong_token), request(unsigned, headers={"content-type": "application/json"})):
        with pytest.raises(Unauthenticated):
            made.receive(bad)
