"""What is done with a reply, as tables over its delivery record."""

from datetime import timedelta
from typing import Any

import pytest

from herald_gateway.delivery_rules import (
    ATTEMPT_SECONDS,
    Announce,
    Down,
    Never,
    Policy,
    Record,
    Result,
    Retry,
    Send,
    Settle,
    Taken,
    Unheard,
    Wait,
    begin,
    delay,
    end,
)
from tests.unit.gateway.samples import NOW

RESEND = Policy(idempotent=False, on_unknown="resend", deliver_for=3_600)
HOLD = Policy(idempotent=False, on_unknown="hold", deliver_for=3_600)
IDEMPOTENT = Policy(idempotent=True, on_unknown="hold", deliver_for=3_600)
ALL = [RESEND, HOLD, IDEMPOTENT]
REPEATING = [RESEND, IDEMPOTENT]


def ago(seconds: float) -> Any:
    return NOW - timedelta(seconds=seconds)


def record(**changes: Any) -> Record:
    values = {"state": "sending", "attempt": 1, "holder": "other", "first": ago(60), "since": ago(60)}
    return Record(**{**values, **changes})


@pytest.mark.parametrize("policy", ALL)
def test_without_a_record_the_first_attempt_begins(policy: Policy) -> None:
    step = begin(None, policy, holder="me", now=NOW, idle=True)
    assert step == Send(Record(state="sending", attempt=1, holder="me", first=NOW, since=NOW))


@pytest.mark.parametrize("policy", ALL)
@pytest.mark.parametrize("state", ["sent", "unknown", "failed"])
def test_what_is_settled_is_only_said_again(policy: Policy, state: str) -> None:
    settled = record(state=state)
    assert begin(settled, policy, holder="me", now=NOW, idle=True) == Announce(settled)


@pytest.mark.parametrize("policy", ALL)
@pytest.mark.parametrize("maybe", [False, True])
def test_a_waiting_reply_is_attempted_again(policy: Policy, maybe: bool) -> None:
    step = begin(record(state="waiting", attempt=3, maybe=maybe), policy, holder="me", now=NOW, idle=True)
    assert isinstance(step, Send)
    assert (step.record.state, step.record.attempt, step.record.holder) == ("sending", 4, "me")
    assert (step.record.first, step.record.since, step.record.maybe) == (ago(60), NOW, maybe)


@pytest.mark.parametrize("policy", REPEATING)
@pytest.mark.parametrize("age", [0, 1, 1_000])
def test_an_attempt_without_an_end_is_repeated_where_that_is_right(policy: Policy, age: float) -> None:
    step = begin(record(since=ago(age)), policy, holder="me", now=NOW, idle=True)
    assert isinstance(step, Send)
    assert (step.record.attempt, step.record.maybe) == (2, True)


def test_an_attempt_without_an_end_is_never_repeated_on_hold() -> None:
    step = begin(record(since=ago(ATTEMPT_SECONDS + 6)), HOLD, holder="me", now=NOW, idle=True)
    assert isinstance(step, Settle)
    assert step.record.state == "unknown"


def test_on_hold_a_fresh_attempt_of_another_gets_time_to_end() -> None:
    step = begin(record(since=ago(10)), HOLD, holder="me", now=NOW, idle=True)
    assert step == Wait(25)


def test_a_clock_that_is_ahead_does_not_make_us_wait_for_ever() -> None:
    step = begin(record(since=ago(-600)), HOLD, holder="me", now=NOW, idle=True)
    assert step == Wait(35)


@pytest.mark.parametrize("policy", ALL)
def test_our_own_attempt_that_never_began_is_made_now(policy: Policy) -> None:
    step = begin(record(holder="me"), policy, holder="me", now=NOW, idle=True)
    assert isinstance(step, Send)
    assert not step.record.maybe


def test_our_own_attempt_whose_end_we_owe_is_not_repeated_on_hold() -> None:
    step = begin(record(holder="me"), HOLD, holder="me", now=NOW, idle=False)
    assert isinstance(step, Settle)
    assert step.record.state == "unknown"


@pytest.mark.parametrize(("maybe", "outcome"), [(False, "failed"), (True, "unknown")])
def test_after_its_time_a_waiting_reply_is_given_up(maybe: bool, outcome: str) -> None:
    late = record(state="waiting", first=ago(3_601), maybe=maybe, reason="HTTP 500")
    step = begin(late, RESEND, holder="me", now=NOW, idle=True)
    assert isinstance(step, Settle)
    assert (step.record.state, step.record.reason) == (outcome, "HTTP 500")


def test_after_its_time_an_attempt_without_an_end_is_unknown() -> None:
    step = begin(record(first=ago(3_601)), RESEND, holder="me", now=NOW, idle=True)
    assert isinstance(step, Settle)
    assert step.record.state == "unknown"


@pytest.mark.parametrize("policy", ALL)
@pytest.mark.parametrize(
    ("result", "maybe", "state"),
    [
        (Taken("p1"), False, "sent"),
        (Taken("p1"), True, "sent"),
        (Never("HTTP 410"), False, "failed"),
        (Never("HTTP 410"), True, "unknown"),
        (Down("HTTP 503"), False, "waiting"),
        (Down("HTTP 503"), True, "waiting"),
    ],
)
def test_how_an_attempt_ends(policy: Policy, result: Result, maybe: bool, state: str) -> None:
    verdict = end(record(maybe=maybe), result, policy, now=NOW, jitter=0.5)
    assert isinstance(verdict, Retry if state == "waiting" else Settle)
    assert verdict.record.state == state
    assert verdict.record.since == NOW
    assert verdict.record.maybe == maybe


def test_the_platforms_id_is_kept() -> None:
    verdict = end(record(), Taken("p" * 600), HOLD, now=NOW, jitter=0.5)
    assert verdict.record.platform_message_id == "p" * 512


def test_unheard_is_unknown_on_hold() -> None:
    verdict = end(record(), Unheard("ServerDisconnectedError"), HOLD, now=NOW, jitter=0.5)
    assert isinstance(verdict, Settle)
    assert (verdict.record.state, verdict.record.reason) == ("unknown", "ServerDisconnectedError")


@pytest.mark.parametrize("policy", REPEATING)
def test_unheard_is_sent_again_elsewhere_and_remembered(policy: Policy) -> None:
    verdict = end(record(), Unheard("timeout"), policy, now=NOW, jitter=0.5)
    assert isinstance(verdict, Retry)
    assert (verdict.record.state, verdict.record.maybe) == ("waiting", True)


@pytest.mark.parametrize(
    ("result", "maybe", "outcome"),
    [(Down("x"), False, "failed"), (Down("x"), True, "unknown"), (Unheard("x"), False, "unknown")],
)
def test_the_last_attempt_of_all(result: Result, maybe: bool, outcome: str) -> None:
    verdict = end(record(first=ago(3_601), maybe=maybe), result, RESEND, now=NOW, jitter=0.5)
    assert isinstance(verdict, Settle)
    assert verdict.record.state == outcome


def test_a_long_reason_is_cut() -> None:
    assert len(end(record(), Never("x" * 2_000), HOLD, now=NOW, jitter=0).record.reason) == 512
    assert len(end(record(), Down("x" * 2_000), HOLD, now=NOW, jitter=0).record.reason) == 512


@pytest.mark.parametrize(
    ("attempt", "retry_after", "jitter", "seconds"),
    [
        (1, None, 0.5, 1),
        (2, None, 0.5, 2),
        (4, None, 0.5, 8),
        (7, None, 0.5, 60),
        (10_000, None, 0.5, 60),
        (1, None, 0.0, 0.8),
        (1, 30.0, 0.5, 30),
        (10, 1.0, 0.5, 60),
        (1, 1e9, 0.5, 3_600),
    ],
)
def test_delay(attempt: int, retry_after: float | None, jitter: float, seconds: float) -> None:
    assert delay(attempt, retry_after, jitter) == pytest.approx(seconds)


def test_a_record_survives_the_wire() -> None:
    written = record(state="waiting", maybe=True, reason="HTTP 503")
    assert Record.from_wire(written.to_wire()) == written
