"""One running Herald per test module."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.world import World, world


@pytest.fixture
async def whole(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as running:
        yield running
