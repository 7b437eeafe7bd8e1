"""One cluster for all tests of this folder: yours if you name it, else a node of our own (docs/cluster.md).

Our own takes root, Debian packages, and half a minute when images and binaries are cached. HERALD_E2E_STATE names a
state folder of tools.cluster whose node is used, and kept, so that the next run is quicker.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import foreign
from tests.e2e.site import Site, own


def _say(text: str) -> None:
    print(text, file=sys.stderr)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A cluster with the operator installed. Skipped where none was named and we may not make one."""
    kubeconfig = foreign.asked_for()
    if kubeconfig:
        visiting = Site(foreign.client(kubeconfig), foreign.images(os.environ.get(foreign.REGISTRY, "")))
        with foreign.visited(visiting, _say) as site:
            yield site
        return
    if os.geteuid() != 0:
        pytest.skip("a real node needs root; on a cluster of your own: make e2e KUBECONFIG=FILE")
    kept = os.environ.get("HERALD_E2E_STATE")
    state = Path(kept) if kept else tmp_path_factory.mktemp("node")
    with own(state, keep=bool(kept), install=bool(os.environ.get("CI")), say=_say) as site:
        yield site
