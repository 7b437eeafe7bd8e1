"""One node for all tests of this folder: root, Debian packages, half a minute when images and binaries are cached.

HERALD_E2E_STATE names a state folder of tools.cluster whose node is used, and kept, so that the next run is quicker.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A node with the operator installed. Skipped without root."""
    if os.geteuid() != 0:
        pytest.skip("a real node needs root")
    kept = os.environ.get("HERALD_E2E_STATE")
    state = Path(kept) if kept else tmp_path_factory.mktemp("node")
    opened = Site.open(state, lambda text: print(text, file=sys.stderr))  # noqa: T201 - minutes may pass
    try:
        opened.install()
        yield opened
    finally:
        if not kept:
            opened.cluster.stop()
