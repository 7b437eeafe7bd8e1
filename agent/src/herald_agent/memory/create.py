"""Memory over PostgreSQL, Milvus and Triton, put together."""

from herald_agent.memory.embedding import Embedder, TritonEmbedder
from herald_agent.memory.facts import Facts, Pool
from herald_agent.memory.ports import Fact, Memory
from herald_agent.memory.recall import Recall, Record, record
from herald_agent.memory.vectors import MilvusVectors, Vectors
from herald_agent.memory.writer import Writer
from herald_contracts import settings
from herald_contracts.subjects import Names
from herald_runtime.secrets import SecretFolder


async def create_memory(memory: settings.Memory, pool: Pool, names: Names) -> Memory:
    """The memory of the deployment `names`. Connects to nothing yet; the caller keeps and closes `pool`.

    Raises ConfigurationError where the credentials are missing.
    """
    secret = SecretFolder(memory.credentials) if memory.credentials is not None else None
    if secret is not None:
        secret.get("token")  # now, and not at the first recall
    return StoredMemory(
        Facts(pool),
        TritonEmbedder(memory.embedder_url, memory.embedder),
        MilvusVectors(memory.milvus_uri, names, secret),
        seconds=memory.recall_seconds,
        limit=memory.recall_limit,
    )


class StoredMemory:
    """The Memory that keeps its promises through restarts."""

    def __init__(
        self,
        facts: Facts,
        embedder: Embedder,
        vectors: Vectors,
        *,
        seconds: float,
        limit: int,
        record: Record = record,
    ) -> None:
        self._facts = facts
        self._embedder = embedder
        self._vectors = vectors
        self._writer = Writer(facts, embedder, vectors)
        self._recall = Recall(facts, embedder, vectors, seconds=seconds, limit=limit, record=record)

    async def recall(self, user_key: str, text: str) -> tuple[Fact, ...]:
        return await self._recall.recall(user_key, text)

    async def remember(self, user_key: str, text: str, turn: str) -> Fact:
        fact = await self._facts.add(user_key, text, turn)
        self._writer.ring()
        return fact

    async def run(self) -> None:
        await self._writer.run()

    async def close(self) -> None:
        await self._recall.close()
        await self._vectors.close()
        await self._embedder.close()
