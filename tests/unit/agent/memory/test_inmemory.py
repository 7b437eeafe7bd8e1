"""The memory without servers keeps the promises of the port."""

import pytest

from herald_agent.memory.inmemory import InMemory
from herald_agent.memory.ports import Memory
from tests.unit.agent.memory.contract import LIMIT, RankingContract


class TestInMemory(RankingContract):
    @pytest.fixture
    def memory(self) -> Memory:
        return InMemory(limit=LIMIT)
