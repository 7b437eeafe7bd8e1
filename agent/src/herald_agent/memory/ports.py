"""What a turn may ask of memory, and nothing of how it is kept.

The promises below are the port's, not one adapter's: `inmemory.py` and the adapter over PostgreSQL and Milvus
(`create.py`) pass the same contract tests.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from herald_contracts.errors import PermanentError


class FactRefused(PermanentError):
    """There is nothing in this text to remember."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something one user asked to have remembered. `text` is what was kept of the user's words: untrusted.

    `id` is herald_contracts.identity.fact_id: the same thing told twice is one fact.
    """

    id: str
    text: str
    created_at: datetime


class Memory(Protocol):
    """Facts by user. `user_key` is that of herald_contracts.identity; any other form is a ValueError."""

    async def recall(self, user_key: str, text: str) -> tuple[Fact, ...]:
        """This user's facts that may help to answer `text`, at most `recall_limit`; never another user's.

        Never late and never an error: over `recall_seconds`, or with a store or the embedder away, the answer is
        () and is counted.
        """

    async def remember(self, user_key: str, text: str, turn: str) -> Fact:
        """Keep `text` for this user: durable when it returns, and recalled from then on.

        `turn` is the turn that asked. A text told twice gives the first fact again. The text is tidied and cut (see
        choosing.tidy), so tell the user `Fact.text`. Raises FactRefused for a text with nothing in it and a
        TemporaryError when it could not be stored; calling again is harmless.
        """

    async def run(self) -> None:
        """Write the vectors of new facts, in the background, until cancelled. Outlives every outage."""

    async def close(self) -> None:
        """Let go of every connection and task. Nothing may be asked of the memory afterwards."""
