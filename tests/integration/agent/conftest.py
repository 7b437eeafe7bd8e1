"""A store to itself for each test, and the shortest way to fill it; workers as processes, and what is around them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from herald_agent.store.migrate import migrate
from herald_agent.store.pool import Database
from herald_contracts.settings import AgentSettings
from herald_contracts.streams import topology
from herald_contracts.subjects import Names
from herald_operator import messaging
from herald_runtime import rollout
from herald_runtime.connection import connect
from tests import servers
from tests.integration.agent.desk import Desk
from tests.integration.agent.outside import Outside, Worker

Hire = Callable[..., Worker]


@pytest.fixture
async def db(database: str) -> AsyncIterator[Database]:
    db = await Database.of(database, most=20)
    yield db
    await db.close()


@pytest.fixture
def desk(db: Database) -> Desk:
    return Desk(db)


@pytest.fixture
def agent_settings(nats: servers.Nats, database: str, deployment: Names, tmp_path: Path) -> AgentSettings:
    """Settings of a worker on the session's servers, with short leases."""
    return settings_of(nats, database, deployment, tmp_path)


def settings_of(nats: servers.Nats, dsn: str, names: Names, folder: Path, **fields: Any) -> AgentSettings:
    file = folder / "dsn"
    file.write_text(dsn)
    return AgentSettings.model_validate(
        {
            "namespace": names.namespace,
            "name": names.name,
            "revision": "r1",
            "nats": nats.settings.model_dump(),
            "database": {"dsn_file": str(file), "pool_min": 2},
            "instructions": "Be short.",
            "model": {"backend": "triton", "url": "127.0.0.1:1"},
            "lease_seconds": 1.5,
            "health_port": 0,
            **fields,
        }
    )


@pytest.fixture
def hire(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hire]:
    """`hire(name, **settings)`: a worker process that is gone after the test."""
    hired: list[Worker] = []

    def worker(name: str = "w1", base: AgentSettings | None = None, **fields: Any) -> Worker:
        settings: AgentSettings = base or request.getfixturevalue("agent_settings")
        changed = AgentSettings.model_validate({**settings.model_dump(), **fields})
        hired.append(Worker(tmp_path, changed, name))
        return hired[-1]

    yield worker
    for each in hired:
        each.kill()


@pytest.fixture
async def outside(nats: servers.Nats, deployment: Names) -> AsyncIterator[Outside]:
    async with Outside.around(nats.settings, deployment) as outside:
        yield outside


@dataclass
class Estate:
    """Servers of this test's own, to be broken; workers on them, and what is around them."""

    nats: servers.Nats
    postgres: servers.Postgres
    dsn: str
    names: Names
    settings: AgentSettings
    outside: Outside
    db: Database


@pytest.fixture
async def estate(own_nats: servers.Nats, own_postgres: servers.Postgres, tmp_path: Path) -> AsyncIterator[Estate]:
    names = Names("test", "own")
    dsn = own_postgres.create("own")
    await asyncio.to_thread(migrate, dsn)
    client = await connect(own_nats.settings, "fixture")
    await messaging.ensure(client, topology(names, storage=256 * 2**20))
    await rollout.activate(client, names, "r1")
    await client.close()
    db = await Database.of(dsn)
    async with Outside.around(own_nats.settings, names) as outside:
        settings = settings_of(own_nats, dsn, names, tmp_path)
        yield Estate(own_nats, own_postgres, dsn, names, settings, outside, db)
    await db.close()
