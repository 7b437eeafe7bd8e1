"""How fast a growing card may grow. Pure: time comes in as an argument.

Feishu's limits: 5 updates a second per message, 5 messages a second per chat over all bots, and for each API 50
calls a second and 1,000 a minute per app, over all our replicas. Updates are worth nothing once the final text
is there, so they get a part of each limit and back off first when Feishu says that it is too much.
"""

from collections import OrderedDict

PER_CHAT = 0.25  # seconds between two updates in one chat, and so also of one message
PER_APP = 0.125  # seconds between two updates of this process
SLOWEST = 2.0  # seconds between two updates of this process after being told to slow down, again and again

_CHATS = 2_000


class Pace:
    def __init__(self) -> None:
        self._app_free = 0.0
        self._gap = PER_APP
        self._chat_free: OrderedDict[str, float] = OrderedDict()

    def reserve(self, chat: str, now: float) -> float:
        """Take the next free slot; the result is how many seconds to wait for it."""
        slot = max(now, self._app_free, self._chat_free.get(chat, 0.0))
        self._app_free = slot + self._gap
        self._keep(chat, slot + PER_CHAT)
        return slot - now

    def spent(self, chat: str, now: float) -> None:
        """A message that had to go at once went: updates in that chat make room for it."""
        self._keep(chat, max(now, self._chat_free.get(chat, 0.0)) + PER_CHAT)

    def limited(self, chat: str, now: float, wait: float | None) -> None:
        """Feishu said: too fast. Everything slows down, this chat pauses."""
        self._gap = min(self._gap * 2, SLOWEST)
        pause = min(max(wait or 0.0, 1.0), 30.0)
        self._app_free = max(self._app_free, now + self._gap)
        self._keep(chat, max(self._chat_free.get(chat, 0.0), now + pause))

    def fine(self) -> None:
        """An update went through: back towards full speed, slowly."""
        self._gap = max(self._gap * 0.9, PER_APP)

    def _keep(self, chat: str, free: float) -> None:
        self._chat_free[chat] = free
        self._chat_free.move_to_end(chat)
        while len(self._chat_free) > _CHATS:
            self._chat_free.popitem(last=False)
