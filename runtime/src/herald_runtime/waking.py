"""A bell that many may ring and one waits for: coalesces rings, and rings by itself when all is quiet.

Work in Herald is found by looking at a table; a ring only says that looking now is worth it, so a lost ring
costs a delay of `at_least_every` seconds and nothing else.
"""

import asyncio


class Bell:
    def __init__(self, at_least_every: float) -> None:
        self._event = asyncio.Event()
        self._every = at_least_every

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> bool:
        """True when it was rung, False when the time was up. Rings during the last look are not lost."""
        try:
            async with asyncio.timeout(self._every):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
