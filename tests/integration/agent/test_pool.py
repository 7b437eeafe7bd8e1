"""The pool keeps its connections, however often those who use them are cancelled."""

import asyncio
import random

from herald_agent.store.pool import Database


async def test_cancelled_statements_give_their_connections_back(database: str) -> None:
    chance, most = random.Random(3), 3
    db = await Database.of(database, most=most)
    try:
        for _ in range(300):
            tasks = [asyncio.create_task(db.value("SELECT 1")) for _ in range(12)]
            for task in chance.sample(tasks, 8):
                await asyncio.sleep(chance.uniform(0, 0.0008))  # to meet it anywhere in its life
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(20):
            assert await asyncio.gather(*(db.value("SELECT 2") for _ in range(20))) == [2] * 20
            while db.pool.get_stats()["pool_available"] != db.pool.get_stats()["pool_size"]:
                await asyncio.sleep(0.01)
        assert db.pool.get_stats()["pool_size"] >= 1
    finally:
        await db.close()
