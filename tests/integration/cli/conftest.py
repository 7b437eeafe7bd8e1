"""A Herald for each test, stopped afterwards whatever happened to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.running import Herald, write_deployment


@pytest.fixture
def herald(tmp_path: Path) -> Iterator[Herald]:
    """Not started yet."""
    made = Herald(tmp_path / "state", write_deployment(tmp_path / "agent.yaml"))
    yield made
    made.down()
