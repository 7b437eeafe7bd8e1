"""From settings to channels."""

from pathlib import Path

import pytest

from herald_contracts.errors import ConfigurationError
from herald_contracts.settings import Channel, FeishuChannel, WebChannel
from herald_gateway.channels import registry
from tests.unit.gateway import samples


def all_settings(tmp_path: Path) -> tuple[Channel, ...]:
    secret = samples.secret_folder(
        tmp_path / "all",
        secret=samples.SECRET,
        session_key=b"k" * 64,
        app_secret=b"a" * 32,
        encrypt_key=b"e" * 32,
        verification_token=b"v" * 32,
    )
    standard = samples.secret_folder(tmp_path / "standard", secret=samples.WHSEC.encode())
    return (
        WebChannel(name="web", secret=secret),
        samples.hmac_settings(secret),
        samples.standard_settings(standard),
        FeishuChannel(name="feishu", secret=secret, app_id="cli_0123456789"),
    )


def test_every_type_has_its_channel(tmp_path: Path) -> None:
    settings = all_settings(tmp_path)
    channels = registry.create_all(settings)
    assert [(name, channel.name, channel.type) for name, channel in channels.items()] == [
        (entry.name, entry.name, entry.type) for entry in settings
    ]
    for channel in channels.values():
        assert "POST" in channel.methods
        assert channel.ack_deadline > 0
        assert channel.on_unknown in ("resend", "hold")


def test_a_name_used_twice_is_refused(tmp_path: Path) -> None:
    folder = samples.secret_folder(tmp_path / "s", secret=samples.SECRET)
    with pytest.raises(ConfigurationError, match=r"channels\.1\.name"):
        registry.create_all([samples.hmac_settings(folder), samples.hmac_settings(folder)])


def test_a_missing_secret_names_channel_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        registry.create_all([samples.hmac_settings(tmp_path / "nowhere")])
    assert "'hook'" in str(refused.value)
    assert "nowhere" in str(refused.value)
