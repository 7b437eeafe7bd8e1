"""Names of images for a cluster of somebody else: what was built here, and nothing is built for the question."""

from pathlib import Path

import pytest
from tools import cluster
from tools.images import Trouble, base
from tools.images.targets import TARGETS

from tests.e2e import foreign, site


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "herald" / "images"


def _built(cache: Path) -> None:
    """As `make images` leaves it, but for what is in the archives."""
    kept = base.record(cache, base.AUTO)
    kept.parent.mkdir(parents=True)
    kept.write_text('{"name": "base", "identity": "base:1"}')
    (cache / "archives").mkdir()
    for target in site.TARGETS:
        (cache / "archives" / f"{target}-dev-{TARGETS[target].digest('base:1')}.tar").touch()


def test_nothing_was_built(cache: Path) -> None:
    with pytest.raises(Trouble, match="make images"):
        foreign.images("")
    assert not cache.exists()


def test_what_was_built_and_where_it_was_pushed(cache: Path) -> None:
    _built(cache)
    tag = f"dev-{TARGETS['gateway'].digest('base:1')}"
    assert foreign.images("")["gateway"] == f"localhost/herald/gateway:{tag}"
    assert (
        foreign.images("registry.example.com:5000/team/")["gateway"] == f"registry.example.com:5000/team/gateway:{tag}"
    )
    nats = f"nats:dev-{TARGETS['test-nats'].digest('base:1')}"
    assert foreign.images("registry.example.com")["test-nats"] == f"registry.example.com/{nats}"
    assert len(set(foreign.images("registry.example.com").values())) == len(site.TARGETS)


def test_a_file_has_changed_since(cache: Path) -> None:
    _built(cache)
    next((cache / "archives").glob("agent-*")).unlink()
    with pytest.raises(Trouble, match="agent was not built from what its files say now"):
        foreign.images("")


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(cluster.Trouble, match=r"there is no file .*none\n.*make e2e KUBECONFIG=FILE"):
        foreign.client(str(tmp_path / "none"))
