"""Secrets of local mode: the file's own, those made up once, and a clear word where one is missing."""

import base64
from pathlib import Path
from typing import Any

import pytest

from herald_cli import secrets
from herald_contracts.errors import ConfigurationError
from herald_contracts.resources.parse import Bundle
from tests.unit.cli.deployments import FEISHU, HMAC, STANDARD, WEB, deployment


def bundle(*channels: dict[str, Any], given: dict[str, dict[str, bytes]] | None = None, **spec: Any) -> Bundle:
    return Bundle(deployment(channels=list(channels) or [WEB], **spec), given or {})


def test_nobody_has_to_write_what_can_be_made_up(tmp_path: Path) -> None:
    made = secrets.materialise(bundle(WEB, HMAC, STANDARD), tmp_path)
    assert {(m.name, m.key) for m in made} == {
        ("support-web-session", "session-key"),
        ("hmac-key", "secret"),
        ("std-key", "secret"),
    }
    for one in made:
        assert one.file.read_text()
        assert one.file.stat().st_mode & 0o777 == 0o600
        assert one.file.parent.stat().st_mode & 0o777 == 0o700
    standard = (tmp_path / "std-key" / "secret").read_text()
    assert standard.startswith("whsec_")
    assert len(base64.b64decode(standard.removeprefix("whsec_"), validate=True)) == 32
    assert len(base64.b64decode((tmp_path / "hmac-key" / "secret").read_text(), validate=True)) == 32


def test_what_was_made_up_stays(tmp_path: Path) -> None:
    secrets.materialise(bundle(WEB, HMAC), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert secrets.materialise(bundle(WEB, HMAC), tmp_path) == ()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_secrets_are_not_the_same_on_two_machines(tmp_path: Path) -> None:
    for name in ("a", "b"):
        secrets.materialise(bundle(HMAC), tmp_path / name)
    assert (tmp_path / "a/hmac-key/secret").read_text() != (tmp_path / "b/hmac-key/secret").read_text()


def test_the_file_wins_and_replaces_the_whole_secret(tmp_path: Path) -> None:
    secrets.materialise(bundle(HMAC), tmp_path)
    given = {"hmac-key": {"secret": b"mine", "secret-previous": b"older"}}
    assert secrets.materialise(bundle(HMAC, given=given), tmp_path) == ()
    assert (tmp_path / "hmac-key" / "secret").read_text() == "mine"
    assert (tmp_path / "hmac-key" / "secret-previous").read_text() == "older"
    secrets.materialise(bundle(HMAC, given={"hmac-key": {"secret": b"mine"}}), tmp_path)
    assert not (tmp_path / "hmac-key" / "secret-previous").exists()
    assert (tmp_path / "hmac-key" / "secret").stat().st_mode & 0o777 == 0o600


def test_two_kinds_of_channels_may_share_a_secret(tmp_path: Path) -> None:
    shared = {"standardWebhooks": {**STANDARD["standardWebhooks"], "secretRef": {"name": "hmac-key"}}, "name": "std"}
    secrets.materialise(bundle(HMAC, shared), tmp_path)
    assert (tmp_path / "hmac-key" / "secret").read_text().startswith("whsec_")


OPENAI = {
    "model": "m",
    "backend": "openai",
    "openai": {"baseURL": "https://models.example/v1", "secretRef": {"name": "models"}},
}


@pytest.mark.parametrize(
    ("wanted", "path", "key"),
    [
        (bundle(WEB, FEISHU), "spec.channels[1].feishu.secretRef.name", "app-secret"),
        (bundle(FEISHU, given={"lark-app": {"encrypt-key": b"x"}}), "spec.channels[0].feishu", "app-secret"),
        (bundle(FEISHU, given={"lark-app": {"app-secret": b"x"}}), "spec.channels[0].feishu", "encrypt-key"),
        (bundle(inference=OPENAI), "spec.inference.openai.secretRef.name", "api-key"),
        (bundle(HMAC, given={"hmac-key": {"key": b"misnamed"}}), "spec.channels[0].hmac.secretRef.name", "secret"),
    ],
)
def test_what_only_a_person_can_know_is_asked_for(tmp_path: Path, wanted: Bundle, path: str, key: str) -> None:
    with pytest.raises(ConfigurationError, match=key) as refused:
        secrets.materialise(wanted, tmp_path)
    assert refused.value.path.startswith(path)
    assert "kind: Secret" in refused.value.hint


def test_an_empty_secret_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs the key 'app-secret'"):
        secrets.materialise(bundle(FEISHU, given={"lark-app": {"app-secret": b""}}), tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not text") as refused:
        secrets.materialise(bundle(HMAC, given={"hmac-key": {"secret": b"\xff"}}), tmp_path)
    assert "xff" not in str(refused.value)


def test_own_passwords_are_made_once(tmp_path: Path) -> None:
    first = secrets.value(tmp_path, "nats", "password")
    assert secrets.value(tmp_path, "nats", "password") == first
    assert len(first) >= 40
    assert (tmp_path / "nats" / "password").stat().st_mode & 0o777 == 0o600
