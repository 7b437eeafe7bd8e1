"""The `hmac` channel: whose request is believed, and what the other side is told."""

import dataclasses
import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_contracts.errors import ConfigurationError
from herald_contracts.identity import message_id
from herald_gateway.channels import hmac
from herald_gateway.channels.base import DuplicateHeader, RawRequest, Refused, Unauthenticated
from tests.unit.gateway import samples
from tests.unit.gateway.samples import NOW, OLD_SECRET, SECRET, body, hmac_request, hmac_signature, plus, without

TIMESTAMP = str(int(NOW.timestamp()))


@pytest.fixture
def channel(tmp_path: Path) -> hmac.Hmac:
    return hmac.create(samples.hmac_settings(samples.secret_folder(tmp_path / "s", secret=SECRET)))


def test_a_good_request_becomes_one_message(channel: hmac.Hmac) -> None:
    inbound = channel.receive(hmac_request(body()))
    (message,) = inbound.messages
    assert (message.event_id, message.chat, message.content) == ("event-1", "room-1", "Hello")
    assert message.id == message_id("hook", "event-1")
    assert inbound.answer.status == 202
    assert json.loads(inbound.answer.body) == {"accepted": True, "id": "event-1", "message": message.id}


def good() -> RawRequest:
    return hmac_request(body())


SIGNATURE = hmac_signature(SECRET, TIMESTAMP, body())


def _moved(seconds: int) -> RawRequest:
    return hmac_request(body(), timestamp=str(int(NOW.timestamp()) + seconds))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (hmac_request(body(), secret=OLD_SECRET), "signature_wrong"),
        (hmac_request(body(text="Hellp"), signature=SIGNATURE), "signature_wrong"),
        (hmac_request(body() + b" ", signature=SIGNATURE), "signature_wrong"),
        (hmac_request(b"", signature=SIGNATURE), "signature_wrong"),
        (hmac_request(body(), signature=SIGNATURE.upper()), "signature_wrong"),
        (hmac_request(body(), signature="v1=" + SIGNATURE[3:].upper()), "signature_wrong"),
        (hmac_request(body(), signature=SIGNATURE[3:]), "signature_wrong"),
        (hmac_request(body(), signature="v0=" + SIGNATURE[3:]), "signature_wrong"),
        (hmac_request(body(), signature=SIGNATURE[:-1]), "signature_wrong"),
        (hmac_request(body(), signature=SIGNATURE + "0"), "signature_wrong"),
        (hmac_request(body(), signature="v1="), "signature_wrong"),
        (hmac_request(body(), signature=",,,"), "signature_wrong"),
        (hmac_request(body(), signature="v1=é" + SIGNATURE[4:]), "signature_wrong"),
        (hmac_request(body(), signature=""), "signature_missing"),
        (without(good(), "herald-signature"), "signature_missing"),
        (hmac_request(body(), signature=",".join(["v1=00"] * 17)), "signature_malformed"),
        (hmac_request(body(), signature=",".join(["v1=00"] * 16 + [SIGNATURE])), "signature_malformed"),
        (without(good(), "herald-timestamp"), "timestamp_missing"),
        (hmac_request(body(), timestamp=""), "timestamp_missing"),
        (hmac_request(body(), timestamp="nan"), "timestamp_malformed"),
        (hmac_request(body(), timestamp=TIMESTAMP + ".0"), "timestamp_malformed"),
        (hmac_request(body(), timestamp="-" + TIMESTAMP), "timestamp_malformed"),
        (hmac_request(body(), timestamp=" " + TIMESTAMP), "timestamp_malformed"),
        (hmac_request(body(), timestamp="1" * 30), "timestamp_malformed"),
        (hmac_request(body(), timestamp="١٢"), "timestamp_malformed"),
        (hmac_request(body(), timestamp="²" * 10), "timestamp_malformed"),
        (hmac_request(body(), timestamp="0"), "timestamp_out_of_range"),
        (_moved(-301), "timestamp_out_of_range"),
        (_moved(301), "timestamp_out_of_range"),
    ],
)
def test_unauthenticated(channel: hmac.Hmac, request_: RawRequest, reason: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        channel.receive(request_)
    assert (refused.value.status, refused.value.reason) == (401, reason)


@pytest.mark.parametrize("header", ["herald-signature", "herald-timestamp"])
def test_a_repeated_header_is_refused_even_if_both_are_good(channel: hmac.Hmac, header: str) -> None:
    value = good().header(header)
    assert value is not None
    with pytest.raises(DuplicateHeader):
        channel.receive(plus(good(), (header, value)))


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_the_clock_may_be_five_minutes_off(channel: hmac.Hmac, seconds: int) -> None:
    assert channel.receive(_moved(seconds)).messages


@pytest.mark.parametrize(
    "signature", [f"v1=00, {SIGNATURE}", f"{SIGNATURE},v2=whatever", f" {SIGNATURE} ,", f"v1=é,{SIGNATURE}"]
)
def test_one_good_signature_of_several_is_enough(channel: hmac.Hmac, signature: str) -> None:
    assert channel.receive(hmac_request(body(), signature=signature)).messages


def test_both_secrets_are_good_while_a_rotation_lasts(tmp_path: Path) -> None:
    folder = samples.secret_folder(tmp_path / "s", secret=SECRET, secret_previous=OLD_SECRET)
    channel = hmac.create(samples.hmac_settings(folder))
    assert channel.receive(hmac_request(body(), secret=SECRET)).messages
    assert channel.receive(hmac_request(body(), secret=OLD_SECRET)).messages
    (folder / "secret-previous").unlink()
    later = dataclasses.replace(hmac_request(body(), secret=OLD_SECRET), received_at=NOW + timedelta(seconds=1))
    with pytest.raises(Unauthenticated):
        channel.receive(later)


@pytest.mark.parametrize("secret", [b"", b"   \n", b"short"])
def test_a_weak_secret_is_refused_at_the_start(tmp_path: Path, secret: bytes) -> None:
    folder = samples.secret_folder(tmp_path / "s", secret=secret)
    with pytest.raises(ConfigurationError) as refused:
        hmac.create(samples.hmac_settings(folder))
    assert "short" not in str(refused.value).replace("shorter", "")


@pytest.mark.parametrize("url", ["", "not a url", "ftp://example.org/", "http:///x"])
def test_a_reply_url_that_cannot_work_is_refused_at_the_start(tmp_path: Path, url: str) -> None:
    folder = samples.secret_folder(tmp_path / "s", secret=SECRET)
    with pytest.raises(ConfigurationError):
        hmac.create(samples.hmac_settings(folder, reply_url=url))


@given(
    timestamp=st.text(max_size=20) | st.just(TIMESTAMP),
    signature=st.text(max_size=100) | st.just(SIGNATURE),
    content=st.binary(max_size=100) | st.just(body()),
)
def test_whatever_comes_only_refused_is_raised(
    tmp_path_factory: pytest.TempPathFactory, timestamp: str, signature: str, content: bytes
) -> None:
    channel = _shared(tmp_path_factory)
    try:
        inbound = channel.receive(hmac_request(content, timestamp=timestamp, signature=signature))
    except Refused:
        return
    assert inbound.messages
    assert content == body()


@given(st.binary(max_size=300))
def test_signed_nonsense_is_refused_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    with pytest.raises(Refused):
        _shared(tmp_path_factory).receive(hmac_request(content))


_channels: list[hmac.Hmac] = []


def _shared(factory: pytest.TempPathFactory) -> hmac.Hmac:
    """hypothesis runs one test function many times: one channel for all of them."""
    if not _channels:
        folder = samples.secret_folder(factory.mktemp("secret"), secret=SECRET)
        _channels.append(hmac.create(samples.hmac_settings(folder)))
    return _channels[0]
