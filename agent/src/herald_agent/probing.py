"""Using a part for real with a worker's own settings, and saying what was seen: for `herald doctor`, here and there.

A probe returns one sentence, or raises a HeraldError with one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from herald_agent.store.migrate import needed
from herald_agent.store.pool import Database
from herald_contracts.errors import PermanentError
from herald_contracts.settings import AgentSettings

MODEL_SECONDS = 25.0


class NotWell(PermanentError):
    """A part answers, and not as it should."""


async def model(settings: AgentSettings) -> str:
    """Has the model write a few words, with the settings that the workers have."""
    # Late: a backend's client library is large, and not every caller asks for the model.
    from herald_agent.models.create import create_model
    from herald_agent.models.ports import ChatMessage

    client = create_model(settings.model, settings.generation.model_copy(update={"max_tokens": 8}))
    first: list[float] = []
    begun = time.perf_counter()

    async def on_text(_: str) -> None:
        first.append(time.perf_counter() - begun)

    try:
        answer = await client.generate(
            [ChatMessage("user", "Say hello.")], deadline=MODEL_SECONDS, on_text=on_text, request_id="doctor"
        )
    finally:
        await client.close()
    took = time.perf_counter() - begun
    words = f"first words after {first[0]:.2f} s, " if first else ""
    return f"{settings.model.model} answered {len(answer.text)} characters, {words}done after {took:.2f} s"


async def database(db: Database) -> str:
    """Commits a durable write; the log record is made by PostgreSQL itself and belongs to no table."""
    begun = time.perf_counter()
    await db.value("SELECT pg_logical_emit_message(true, 'herald.doctor', 'probe')")
    took = (time.perf_counter() - begun) * 1_000
    version = await db.value("SHOW server_version")
    used = await db.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    most = await db.value("SHOW max_connections")
    return f"PostgreSQL {version}, a durable write in {took:.0f} ms, {used} of {most} connections"


async def schema(db: Database) -> str:
    """Whether the database is at the migration that this version needs."""
    reached = await db.value("SELECT coalesce(max(number), 0) FROM schema_migrations")
    if reached != await asyncio.to_thread(needed):
        raise NotWell(f"at migration {reached}, this version needs {needed()}")
    return f"at migration {reached}, as this version needs"


PROBES: dict[str, Callable[[AgentSettings, Database], Awaitable[str]]] = {
    "model": lambda settings, _: model(settings),
    "database": lambda _, db: database(db),
    "schema": lambda _, db: schema(db),
}
