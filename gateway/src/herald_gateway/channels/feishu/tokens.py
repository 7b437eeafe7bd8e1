"""The tenant access token: fetched once for all who need it, renewed before it ends.

https://open.feishu.cn/document/server-docs/authentication-management/access-token/tenant_access_token_internal:
valid for 2 hours; Feishu hands out the same one until less than 30 minutes are left, so replicas need not share.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from herald_contracts.errors import TemporaryError

EARLY = 600.0  # seconds before the end at which a new one is fetched
_SHORTEST = 30.0  # seconds for which any token is used: no loop against a server that says "expires now"


@dataclass(frozen=True, slots=True)
class Token:
    value: str = field(repr=False)
    seconds: float  # from now until it ends


Fetch = Callable[[], Awaitable[Token]]


class Tokens:
    """`fetch` raises TemporaryError when there is no new token to be had."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value = ""
        self._renew_at = 0.0
        self._ends_at = 0.0

    async def get(self) -> str:
        """A token that is valid for a while. Raises what `fetch` raises, unless the old one is still good."""
        if self._value and self._clock() < self._renew_at:
            return self._value
        async with self._lock:
            if self._value and self._clock() < self._renew_at:
                return self._value
            try:
                token = await self._fetch()
            except TemporaryError:
                if self._value and self._clock() < self._ends_at:
                    return self._value
                raise
            now = self._clock()
            self._value = token.value
            self._ends_at = now + max(token.seconds, _SHORTEST)
            self._renew_at = now + max(token.seconds - EARLY, _SHORTEST)
            return self._value

    def drop(self, value: str) -> None:
        """Feishu called `value` invalid. Does nothing when another one is in use by now."""
        if value == self._value:
            self._value = ""
