import hashlib
import hmac
import json

import pytest
from benchmarks import requests
from benchmarks.closed_loop import answer_end, build
from benchmarks.open_loop import Ledger

ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\ndate: x\r\n\r\n{}"


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (ANSWER, len(ANSWER)),
        (ANSWER + b"HTTP/1.1 2", len(ANSWER)),
        (ANSWER[:-1], None),
        (ANSWER[:30], None),
        (b"HTTP/1.1 204 No Content\r\nserver: x\r\n\r\n", 38),
    ],
)
def test_an_answer_ends_where_its_length_says(data: bytes, end: int | None) -> None:
    assert answer_end(data) == end


@pytest.mark.parametrize(
    ("kind", "name", "material"),
    [("herald", "herald", "{stamp}."), ("slack", "x-slack", "v0:{stamp}:")],
)
def test_requests_differ_and_carry_a_valid_signature(kind: str, name: str, material: str) -> None:
    built = build(kind, 20, path="/events", secret=b"key", now=1_763_800_000, salt="s")
    assert len(set(built)) == 20
    head, _, body = built[3].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert int(headers["content-length"]) == len(body) == requests.BODY
    mac = hmac.new(b"key", material.format(stamp="1763800000").encode() + body, hashlib.sha256).hexdigest()
    assert headers[f"{name}-signature"].split("=")[1] == mac
    assert json.loads(body)


def reply(event: str, kind: str = "answer") -> bytes:
    return json.dumps({"event": event, "kind": kind}).encode()


def ledger() -> Ledger:
    """Three sent at 0, 1 and 2 s; all accepted 2 ms later."""
    kept = Ledger()
    for n in range(3):
        kept.due[f"e{n}"] = float(n)
        kept.accepted[f"e{n}"] = n + 0.002
        kept.statuses["202"] += 1
    return kept


def test_all_answered_once() -> None:
    kept = ledger()
    for n in range(3):
        kept.reply(reply(f"e{n}"), n + 0.010 * (n + 1))
    seen = kept.judge(3, 0.1, 9.0)
    assert (seen.sent, seen.accepted, seen.answered, seen.lost, seen.doubled) == (3, 3, 3, 0, 0)
    assert (seen.p50, seen.p99, seen.ack_p99) == pytest.approx((20, 30, 2))


def test_a_lost_one_is_found_and_does_not_make_the_times_better() -> None:
    kept = ledger()
    kept.reply(reply("e0"), 0.1)
    kept.reply(reply("e2"), 2.1)
    seen = kept.judge(3, 0, 9.0)
    assert seen.lost == 1
    assert seen.p99 == pytest.approx(8_000)


def test_one_that_was_refused_is_not_lost() -> None:
    kept = ledger()
    kept.due["e3"] = 3.0
    kept.statuses["503"] += 1
    for n in range(3):
        kept.reply(reply(f"e{n}"), n + 0.1)
    seen = kept.judge(3, 0, 9.0)
    assert (seen.sent, seen.accepted, seen.lost, seen.statuses) == (4, 3, 0, {"202": 3, "503": 1})


def test_a_second_reply_is_found_and_does_not_change_the_time_of_the_first() -> None:
    kept = ledger()
    for n in range(3):
        kept.reply(reply(f"e{n}"), n + 0.1)
    kept.reply(reply("e0"), 5.0)
    seen = kept.judge(3, 0, 9.0)
    assert (seen.answered, seen.doubled) == (3, 1)
    assert seen.highest == pytest.approx(100)


def test_a_failure_message_is_a_reply_but_no_answer() -> None:
    kept = ledger()
    for n in range(3):
        kept.reply(reply(f"e{n}", "failure" if n == 1 else "answer"), n + 0.1)
    seen = kept.judge(3, 0, 9.0)
    assert (seen.answered, seen.failures, seen.lost) == (2, 1, 0)


def test_a_reply_to_an_unknown_event_is_counted_apart() -> None:
    kept = ledger()
    kept.reply(reply("from-before"), 0.5)
    seen = kept.judge(3, 0, 9.0)
    assert (seen.strangers, seen.answered) == (1, 0)
