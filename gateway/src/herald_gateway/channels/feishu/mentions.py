"""Who is named in a message, and is the agent spoken to?

Feishu puts `@_user_1` into the text and lists key, ids and name beside it. Our own id among them is known only
from the bot information API (ids are per app), never from a name, which anyone may take.
"""

import re
from dataclasses import dataclass
from typing import Any

from herald_contracts.messages import Mention
from herald_gateway.channels.feishu.content import clean_text

_MAX = 100
_KEY = re.compile(r"@_(?:user_\d{1,6}|all)")


@dataclass(frozen=True, slots=True)
class Mentions:
    """`by_key` maps a key in the text to its mention."""

    by_key: dict[str, Mention]

    @property
    def all(self) -> tuple[Mention, ...]:
        return tuple(self.by_key.values())

    @property
    def agent(self) -> bool:
        return any(mention.agent for mention in self.by_key.values())

    def resolve(self, markdown: str) -> str:
        """Keys become `@name`; the agent's own mention is removed where it stands in front."""
        rest = markdown.lstrip()
        while (match := _KEY.match(rest)) and (found := self.by_key.get(match.group())) and found.agent:
            rest = rest[match.end() :].lstrip()
        return _KEY.sub(self._name, rest).strip()

    def _name(self, match: re.Match[str]) -> str:
        key = match.group()
        if key == "@_all":
            return "@all"
        found = self.by_key.get(key)
        return f"@{found.name}" if found is not None and found.name else key


def read(listed: object, bot: str) -> Mentions:
    """Read an event's `mentions`. `bot` is our open_id."""
    by_key: dict[str, Mention] = {}
    for item in listed if isinstance(listed, list) else ():
        if len(by_key) == _MAX:
            break
        if isinstance(item, dict):
            key, person = item.get("key"), _person(item)
            if isinstance(key, str) and person and len(person) <= 512:
                name = item.get("name")
                by_key[key] = Mention(
                    id=person,
                    name=" ".join(clean_text(name).split())[:256] if isinstance(name, str) else "",
                    agent=bool(bot) and person == bot,
                )
    return Mentions(by_key)


def _person(item: dict[str, Any]) -> str:
    """The open_id, in an event's form (`id` is an object) or in the API's (`id` is the open_id itself)."""
    ids = item.get("id")
    if isinstance(ids, str):
        return ids
    if isinstance(ids, dict):
        for kind in ("open_id", "union_id", "user_id"):
            found = ids.get(kind)
            if isinstance(found, str) and found:
                return found
    return ""
