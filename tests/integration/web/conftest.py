"""A gateway with a chat page, a worker on strings, and a browser.

Gateway and browser are started once per module, which is most of what a test here would cost; each test is a
person of its own, with cookies and conversations that no other test sees.
"""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext

from herald_contracts.subjects import Names
from tests import servers
from tests.browser import ChatPage, chromium, person
from tests.integration.web import stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def names(nats: servers.Nats) -> AsyncIterator[Names]:
    async with stage.deployed(nats.settings, Names("test", f"w{secrets.token_hex(6)}")) as deployed:
        yield deployed


@pytest.fixture(scope="module")
def _gateway(nats: servers.Nats, names: Names, tmp_path_factory: pytest.TempPathFactory) -> Iterator[stage.Gateway]:
    server = stage.Gateway(tmp_path_factory.mktemp("gateway"), nats.settings, names)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def gateway(_gateway: stage.Gateway) -> stage.Gateway:
    """The module's gateway, running, whatever an earlier test did to it."""
    if not _gateway.running:
        _gateway.start()
    return _gateway


@pytest_asyncio.fixture(loop_scope="module")
async def worker(nats: servers.Nats, names: Names) -> AsyncIterator[stage.Worker]:
    async with stage.worker(nats.settings, names) as stand_in:
        yield stand_in


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def someone(browser: Browser) -> AsyncIterator[BrowserContext]:
    who = await person(browser)
    yield who
    await who.close()


@pytest_asyncio.fixture(loop_scope="module")
async def chat(someone: BrowserContext, gateway: stage.Gateway) -> AsyncIterator[ChatPage]:
    """The page, open and ready. No script of it fails, and its policy stops nothing, in any test."""
    page = await ChatPage.open(someone, gateway.url)
    yield page
    assert page.errors == []
