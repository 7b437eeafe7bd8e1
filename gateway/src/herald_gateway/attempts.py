"""One call of a platform, and what it came to: the one place where a channel's errors become results."""

import asyncio

from herald_contracts.errors import ConfigurationError
from herald_contracts.messages import Reply
from herald_gateway.channels.base import Channel, ChannelDown, SendUnknown, Undeliverable
from herald_gateway.delivery_rules import ATTEMPT_SECONDS, Down, Never, Result, Taken, Unheard
from herald_runtime import logs

log = logs.get("attempts")


async def attempt(channel: Channel, reply: Reply, number: int) -> Result:
    """Make the attempt with this number. Raises nothing but cancellation."""
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            delivered = await channel.send(reply, number)
        return Taken(delivered.platform_message_id)
    except ChannelDown as e:
        return Down(str(e), e.retry_after)
    except SendUnknown as e:
        return Unheard(str(e))
    except Undeliverable as e:
        return Never(str(e))
    except TimeoutError:
        return Unheard(f"no answer within {ATTEMPT_SECONDS:g} s")
    except ConfigurationError as e:
        # Such as a secret that is being replaced: found before anything was sent.
        log.error("a channel cannot send", channel=channel.name, problem=str(e))
        return Down("configuration")
    except Exception:
        # A fault of ours, at an unknown point: treated as the worst case, and loud.
        log.exception("a channel failed in an unforeseen way", channel=channel.name, reply=reply.id)
        return Unheard("internal error")
