"""Memory in this process only: for tests of whatever uses memory, and for trying things out.

Keeps the promises of the port (the same contract tests run) except to survive its process. Likeness is the
share of common letter pairs, which needs no model and works in any script.
"""

from datetime import UTC, datetime

from herald_agent.memory.choosing import checked, gist, tidy
from herald_agent.memory.ports import Fact
from herald_contracts.identity import fact_id


class InMemory:
    def __init__(self, *, limit: int = 5) -> None:
        self._limit = limit
        self._facts: dict[str, dict[str, Fact]] = {}

    async def recall(self, user_key: str, text: str) -> tuple[Fact, ...]:
        newest = list(reversed(self._facts.get(checked(user_key), {}).values()))
        query = _pairs(gist(text, 1))
        if len(newest) > self._limit and query:
            newest.sort(key=lambda fact: _likeness(query, _pairs(fact.text)), reverse=True)
        return tuple(newest[: self._limit])

    async def remember(self, user_key: str, text: str, turn: str) -> Fact:
        kept = tidy(text)
        fact = Fact(fact_id(checked(user_key), kept), kept, datetime.now(UTC))
        return self._facts.setdefault(user_key, {}).setdefault(fact.id, fact)

    async def run(self) -> None:
        """There is nothing to write anywhere."""

    async def close(self) -> None:
        self._facts.clear()


def _pairs(text: str) -> set[str]:
    folded = text.casefold()
    return {folded[i : i + 2] for i in range(len(folded) - 1)}


def _likeness(one: set[str], other: set[str]) -> float:
    return len(one & other) / (len(one | other) or 1)
