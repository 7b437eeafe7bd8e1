"""What is refused at start, with words that help."""

from pathlib import Path

import pytest

from herald_contracts.errors import ConfigurationError
from herald_gateway.channels.base import Channel
from herald_gateway.channels.feishu.channel import FeishuChannel, _check
from herald_runtime.secrets import SecretFolder
from tests.unit.gateway.feishu.requests import channel, settings


def test_it_is_a_channel(tmp_path: Path) -> None:
    made: Channel = channel(tmp_path)
    assert (made.name, made.type, made.methods) == ("feishu", "feishu", frozenset({"POST"}))
    assert (made.idempotent, made.on_unknown, list(made.routes())) == (True, "resend", [])


@pytest.mark.parametrize("key", ["app_secret", "encrypt_key", "verification_token"])
def test_every_secret_must_be_there(tmp_path: Path, key: str) -> None:
    made = settings(tmp_path, **{key: ""})
    with pytest.raises(ConfigurationError) as caught:
        _check(made, SecretFolder(made.secret))
    assert key.replace("_", "-") in str(caught.value)
    assert caught.value.hint
    assert str(tmp_path) in str(caught.value)


def test_token_only_mode_is_refused_with_the_fix(tmp_path: Path) -> None:
    made = settings(tmp_path, encrypt_key="")
    with pytest.raises(ConfigurationError, match="Encryption Strategy"):
        _check(made, SecretFolder(made.secret))


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://open.feishu.cn", True),
        ("https://open.larksuite.com/", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost:1", True),
        ("http://open.feishu.cn", False),
        ("http://10.0.0.1", False),
        ("ftp://open.feishu.cn", False),
        ("open.feishu.cn", False),
        ("https://", False),
        ("https://open.feishu.cn/open-apis", False),
        ("https://open.feishu.cn?x=1", False),
    ],
)
def test_the_app_secret_leaves_over_https_only(tmp_path: Path, url: str, accepted: bool) -> None:
    made = settings(tmp_path, base_url=url)
    if accepted:
        _check(made, SecretFolder(made.secret))
    else:
        with pytest.raises(ConfigurationError):
            _check(made, SecretFolder(made.secret))


def test_a_channel_is_made_without_touching_anything(tmp_path: Path) -> None:
    assert FeishuChannel(settings(tmp_path / "later", app_secret="")).name == "feishu"
