"""From settings to channels: the one place that knows every platform.

A platform's code is imported when a channel of its type exists: Feishu's brings a cryptography library along, the
chat page a Markdown renderer, and the memory of a gateway that has neither need not hold them.
"""

from collections.abc import Sequence
from typing import assert_never

from herald_contracts.errors import ConfigurationError
from herald_contracts.settings import Channel as ChannelSettings
from herald_contracts.settings import FeishuChannel, HmacChannel, StandardWebhooksChannel, WebChannel
from herald_gateway.channels import hmac, standard_webhooks
from herald_gateway.channels.base import Channel


def create(settings: ChannelSettings) -> Channel:
    """The channel that one entry describes. Raises ConfigurationError."""
    match settings:
        case WebChannel():
            from herald_gateway.channels.web import channel as web

            return web.create(settings)
        case HmacChannel():
            return hmac.create(settings)
        case StandardWebhooksChannel():
            return standard_webhooks.create(settings)
        case FeishuChannel():
            from herald_gateway.channels.feishu import channel as feishu

            return feishu.create(settings)
        case _:
            assert_never(settings)


def create_all(settings: Sequence[ChannelSettings]) -> dict[str, Channel]:
    """All channels by name. Raises ConfigurationError, also for a name used twice."""
    channels: dict[str, Channel] = {}
    for number, entry in enumerate(settings):
        if entry.name in channels:
            raise ConfigurationError(f"the name {entry.name!r} is used twice", path=f"channels.{number}.name")
        try:
            channels[entry.name] = create(entry)
        except ConfigurationError as e:
            raise ConfigurationError(e.args[0], path=f"channel {entry.name!r}: {e.path}", hint=e.hint) from None
    return channels
