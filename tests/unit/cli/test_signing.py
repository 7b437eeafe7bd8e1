"""Signing as an outside client: what it makes the gateway takes, what the gateway makes it takes, nothing else."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from herald_cli import signing
from herald_cli.signing import Client
from herald_contracts.errors import ConfigurationError
from tests.unit.cli.deployments import FEISHU, HMAC, STANDARD, WEB, deployment

WHSEC = "whsec_" + base64.b64encode(b"k" * 32).decode()
HMAC_CLIENT = Client("hmac", "hmac", b"s3cret", "http://127.0.0.1:1/r")
STANDARD_CLIENT = Client("std", "standardWebhooks", WHSEC.encode(), "http://127.0.0.1:1/r")
CLIENTS = [HMAC_CLIENT, STANDARD_CLIENT]


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.kind)
def test_what_it_signs_it_recognises(client: Client) -> None:
    body = '{"text": "grüße 🙂"}'.encode()
    headers = lower(client.headers("event-1", body))
    assert client.genuine(headers, body)
    assert not client.genuine(headers, body + b" ")
    assert not client.genuine({}, body)
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    assert not Client(client.channel, client.kind, other.encode(), "").genuine(headers, body)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.kind)
@pytest.mark.parametrize("stamp", ["0", "99999999999", "", "-1", "1e9", "²", "nan"])
def test_an_old_or_senseless_time_is_refused(client: Client, stamp: str) -> None:
    headers = lower(client.headers("event-1", b"x"))
    name = "herald-timestamp" if client.kind == "hmac" else "webhook-timestamp"
    assert not client.genuine({**headers, name: stamp}, b"x")


def test_the_hmac_format_is_the_public_contract() -> None:
    """Worked out by somebody else: printf '%s' '1700000000.{}' | openssl dgst -sha256 -hmac s3cret."""
    assert HMAC_CLIENT._hex("1700000000", b"{}") == ("97926816e98fbb41ccb1673225ff29a2f35369099990e1b1561651e7bd097ebf")


def test_the_standard_webhooks_library_agrees() -> None:
    body = json.dumps({"text": "hello"})
    headers = STANDARD_CLIENT.headers("msg_1", body.encode())
    assert Webhook(WHSEC).verify(body, headers) == {"text": "hello"}
    signature = Webhook(WHSEC).sign("msg_2", now := datetime.now(UTC), body)
    theirs = {"webhook-id": "msg_2", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    assert STANDARD_CLIENT.genuine(theirs, body.encode())


@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["herald-timestamp", "herald-signature", "webhook-id", "webhook-timestamp", "webhook-signature"]
        ),
        st.text(max_size=60),
    ),
    body=st.binary(max_size=50),
)
def test_no_reply_is_genuine_by_luck(headers: dict[str, str], body: bytes) -> None:
    assert not any(client.genuine(headers, body) for client in CLIENTS)


def test_a_client_never_shows_its_secret() -> None:
    for client in CLIENTS:
        assert client.secret.decode() not in repr(client)
        assert client.secret.decode() not in f"{client}"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    for name in ("hmac-key", "std-key"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(f"{name}\n")
    return tmp_path


@pytest.mark.parametrize(("name", "channel", "kind"), [(None, "hmac", "hmac"), ("std", "std", "standardWebhooks")])
def test_the_channel_that_is_meant(secrets: Path, name: str | None, channel: str, kind: str) -> None:
    found = signing.client(deployment(channels=[WEB, HMAC, STANDARD]), secrets, name)
    assert (found.channel, found.kind) == (channel, kind)
    assert found.secret == f"{channel}-key".encode()


@pytest.mark.parametrize(
    ("channels", "name", "says"),
    [
        ([WEB, HMAC], "web", "neither hmac nor standardWebhooks"),
        ([FEISHU, HMAC], "lark", "signed channels: hmac"),
        ([WEB, HMAC], "hmca", "signed channels: hmac"),
        ([WEB], "web", "written to on its page"),
        ([WEB], None, "add one of type hmac"),
    ],
)
def test_a_channel_that_cannot_be_signed_for(secrets: Path, channels: list[Any], name: str | None, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        signing.client(deployment(channels=channels), secrets, name)


def test_a_missing_secret_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="hmac-key/secret"):
        signing.client(deployment(channels=[HMAC]), tmp_path, None)


def test_events_have_ids_of_their_own() -> None:
    assert len({signing.event_id() for _ in range(100)}) == 100
