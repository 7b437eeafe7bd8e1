"""Receipts that meet in one batch, and advisories in any shape."""

import json

import pytest

from herald_agent.advisories import explain
from herald_agent.receipts import strongest
from herald_contracts.messages import Receipt
from tests.unit.agent.values import NOW


def receipt(reply: str, outcome: str, **fields: object) -> Receipt:
    return Receipt.model_validate(
        {"reply": reply, "channel": "hmac", "conversation": "c", "outcome": outcome, "at": NOW, **fields}
    )


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["sent"], "sent"),
        (["unknown", "sent"], "sent"),
        (["sent", "unknown"], "sent"),
        (["failed", "sent"], "sent"),
        (["unknown", "failed"], "failed"),
        (["failed", "unknown"], "failed"),
    ],
)
def test_the_receipt_that_says_most_counts(outcomes: list[str], expected: str) -> None:
    found = strongest([receipt("r1", outcome) for outcome in outcomes])
    assert [o.outcome for o in found] == [expected]


def test_each_reply_once_in_order_and_storable() -> None:
    found = strongest(
        [
            receipt("r1", "sent", platform_message_id="om\0_1", attempts=2**40),
            receipt("r2", "failed", reason="a\0b"),
            receipt("r1", "sent"),
        ]
    )
    assert [o.reply for o in found] == ["r1", "r2"]
    assert (found[0].platform_message_id, found[0].attempts, found[1].reason) == ("om_1", 2**31 - 1, "ab")


def test_an_advisory_is_explained() -> None:
    advisory = {
        "type": "io.nats.jetstream.advisory.v1.terminated",
        "stream": "OUT",
        "consumer": "senders",
        "stream_seq": 7,
    }
    assert explain(json.dumps(advisory).encode()) == ("OUT", 7, "given up by its reader (consumer senders)")


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"null", b"{}", b'{"type":1}', b'{"type":"x","consumer":"c"}'])
def test_an_unreadable_advisory_is_still_a_notice(data: bytes) -> None:
    stream, sequence, reason = explain(data)
    assert (stream, sequence) == ("", 0)
    assert reason.startswith("unreadable advisory")
