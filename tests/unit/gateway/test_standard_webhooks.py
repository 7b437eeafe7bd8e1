"""The `standardWebhooks` channel, against the project's own SDK as an independent signer."""

import base64
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from herald_contracts.errors import ConfigurationError
from herald_gateway.channels import standard_webhooks
from herald_gateway.channels.base import DuplicateHeader, RawRequest, Refused
from tests.unit.gateway import samples
from tests.unit.gateway.samples import KEY, NOW, WHSEC, body, plus, request, without

OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
TIMESTAMP = str(int(NOW.timestamp()))


def sdk_signature(content: bytes, *, secret: str = WHSEC, at: datetime = NOW, identifier: str = "msg_1") -> str:
    return str(Webhook(secret).sign(identifier, at, content.decode()))


def signed(
    content: bytes, *, identifier: str = "msg_1", timestamp: str = TIMESTAMP, signature: str | None = None
) -> RawRequest:
    return request(
        content,
        ("content-type", "application/json"),
        ("webhook-id", identifier),
        ("webhook-timestamp", timestamp),
        (
            "webhook-signature",
            sdk_signature(content, identifier=identifier) if signature is None else signature,
        ),
    )


@pytest.fixture
def channel(tmp_path: Path) -> standard_webhooks.StandardWebhooks:
    folder = samples.secret_folder(tmp_path / "s", secret=WHSEC.encode())
    return standard_webhooks.create(samples.standard_settings(folder))


def test_the_sdk_signs_and_we_take_it(channel: standard_webhooks.StandardWebhooks) -> None:
    inbound = channel.receive(signed(body(id=...)))
    (message,) = inbound.messages
    assert message.event_id == message.platform_message_id == "msg_1"
    assert json.loads(inbound.answer.body)["id"] == "msg_1"


def test_the_webhook_id_is_the_event_and_the_body_id_the_message(channel: standard_webhooks.StandardWebhooks) -> None:
    (message,) = channel.receive(signed(body(id="m-7"))).messages
    assert (message.event_id, message.platform_message_id) == ("msg_1", "m-7")


def test_we_sign_and_the_sdk_takes_it() -> None:
    content = '{"text": "grüße"}'.encode()
    now = str(int(datetime.now(NOW.tzinfo).timestamp()))
    signature = standard_webhooks.sign(KEY, "r1", now, content)
    headers = {"webhook-id": "r1", "webhook-timestamp": now, "webhook-signature": signature}
    assert Webhook(WHSEC).verify(content, headers) == {"text": "grüße"}


def good() -> RawRequest:
    return signed(body())


MAC = sdk_signature(body()).removeprefix("v1,")


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (signed(body(), signature=sdk_signature(body(), secret=OTHER)), 401, "signature_wrong"),
        (signed(body(text="Hellp"), signature="v1," + MAC), 401, "signature_wrong"),
        (signed(body(), identifier="msg_2", signature="v1," + MAC), 401, "signature_wrong"),
        (signed(body(), signature="v1a," + MAC), 401, "signature_wrong"),
        (signed(body(), signature=MAC), 401, "signature_wrong"),
        (signed(body(), signature="v1," + MAC.rstrip("=")), 401, "signature_wrong"),
        (signed(body(), signature="v1," + MAC + "\n"), 401, "signature_wrong"),
        (signed(body(), signature="v1,é"), 401, "signature_wrong"),
        (signed(body(), signature="v1,,"), 401, "signature_wrong"),
        (signed(body(), signature="v1 " + MAC), 401, "signature_wrong"),
        (signed(body(), signature="v1=" + MAC), 401, "signature_wrong"),
        (signed(body(), signature=" ".join(["v1,AA"] * 17)), 401, "signature_malformed"),
        (signed(body(), signature=""), 401, "signature_missing"),
        (without(good(), "webhook-signature"), 401, "signature_missing"),
        (without(good(), "webhook-id"), 401, "id_missing"),
        (signed(body(), identifier="a.1"), 400, "id_malformed"),
        (signed(body(), identifier="a b"), 400, "id_malformed"),
        (signed(body(), identifier="é"), 400, "id_malformed"),
        (signed(body(), identifier="x" * 257), 400, "id_malformed"),
        (without(good(), "webhook-timestamp"), 401, "timestamp_missing"),
        (signed(body(), timestamp=TIMESTAMP + ".5"), 401, "timestamp_malformed"),
        (signed(body(), timestamp="١٢"), 401, "timestamp_malformed"),
        (signed(body(), timestamp=str(int(TIMESTAMP) - 301)), 401, "timestamp_out_of_range"),
        (signed(body(), timestamp=str(int(TIMESTAMP) + 301)), 401, "timestamp_out_of_range"),
        (signed(body(), timestamp=str(int(TIMESTAMP) + 1)), 401, "signature_wrong"),
    ],
)
def test_refused(channel: standard_webhooks.StandardWebhooks, request_: RawRequest, status: int, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        channel.receive(request_)
    assert (refused.value.status, refused.value.reason) == (status, reason)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_repeated_header_is_refused(channel: standard_webhooks.StandardWebhooks, header: str) -> None:
    value = good().header(header)
    assert value is not None
    with pytest.raises(DuplicateHeader):
        channel.receive(plus(good(), (header, value)))


@pytest.mark.parametrize("signature", [f"v1,AA v1,{MAC}", f"v1a,AA v1,{MAC} v2,x", f"v1,{MAC} "])
def test_one_good_signature_of_several_is_enough(channel: standard_webhooks.StandardWebhooks, signature: str) -> None:
    assert channel.receive(signed(body(), signature=signature)).messages


def test_both_secrets_are_good_while_a_rotation_lasts(tmp_path: Path) -> None:
    folder = samples.secret_folder(tmp_path / "s", secret=OTHER.encode(), secret_previous=WHSEC.encode())
    channel = standard_webhooks.create(samples.standard_settings(folder))
    assert channel.receive(good()).messages
    assert channel.receive(signed(body(), signature=sdk_signature(body(), secret=OTHER))).messages


def test_an_old_message_is_refused_however_well_signed(channel: standard_webhooks.StandardWebhooks) -> None:
    then = NOW - timedelta(minutes=6)
    old = signed(body(), timestamp=str(int(then.timestamp())), signature=sdk_signature(body(), at=then))
    with pytest.raises(Refused, match="timestamp_out_of_range"):
        channel.receive(old)


@pytest.mark.parametrize(
    "secret",
    [
        b"",
        b"whsec_",
        KEY,
        base64.b64encode(KEY),
        b"whsec_!!!!" + base64.b64encode(KEY),
        b"whsec_" + base64.b64encode(KEY[:23]),
    ],
)
def test_a_secret_that_is_none_is_refused_at_the_start(tmp_path: Path, secret: bytes) -> None:
    folder = samples.secret_folder(tmp_path / "s", secret=secret)
    with pytest.raises(ConfigurationError):
        standard_webhooks.create(samples.standard_settings(folder))


def test_a_secret_without_padding_is_the_same_secret() -> None:
    assert standard_webhooks.key_of(WHSEC.rstrip("=").encode()) == KEY


@given(
    identifier=st.text(max_size=20), timestamp=st.text(max_size=20) | st.just(TIMESTAMP), signature=st.text(max_size=90)
)
def test_whatever_comes_only_refused_is_raised(identifier: str, timestamp: str, signature: str) -> None:
    with pytest.raises(Refused):
        standard_webhooks.verify([KEY], signed(body(), identifier=identifier, timestamp=timestamp, signature=signature))
