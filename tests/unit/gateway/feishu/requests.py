"""What the tests of the webhook side share: a channel with known secrets and requests for it."""

from datetime import UTC, datetime
from pathlib import Path

from herald_contracts.settings import FeishuChannel as FeishuSettings
from herald_gateway.channels.base import Inbound, RawRequest
from herald_gateway.channels.feishu.channel import FeishuChannel, create
from tests.fakes.feishu import BOT, Events, Signed

SECRETS = {"app-secret": "app-secret", "encrypt-key": "encrypt-key", "verification-token": "verification-token"}
EVENTS = Events()


def settings(folder: Path, base_url: str = "https://open.feishu.cn", **secrets: str) -> FeishuSettings:
    """Settings whose Secret holds SECRETS and, with `_` for `-`, `secrets`; an empty value removes one."""
    folder.mkdir(exist_ok=True)
    for name, value in {**SECRETS, **{k.replace("_", "-"): v for k, v in secrets.items()}}.items():
        (folder / name).write_text(value)
    return FeishuSettings(name="feishu", secret=folder, app_id="cli_herald", base_url=base_url)


def channel(folder: Path, *, bot: str | None = BOT, **secrets: str) -> FeishuChannel:
    """A channel that has not started but knows who it is."""
    made = create(settings(folder, **secrets))
    made.bot = bot
    return made


def request(signed: Signed, *, headers: dict[str, str] | None = None, body: bytes | None = None) -> RawRequest:
    """As the gateway would hand it to the channel."""
    pairs = tuple((signed.headers if headers is None else headers).items())
    return RawRequest("POST", "/events", "", pairs, signed.body if body is None else body, datetime.now(UTC))


def receive(made: FeishuChannel, signed: Signed) -> Inbound:
    return made.receive(request(signed))
