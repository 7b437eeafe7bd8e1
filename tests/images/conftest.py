"""The images, built once per session and mounted as long as it lasts. Where they cannot be, their tests are skipped."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.debian import missing
from tools import images
from tools.images.unpacked import Unpacked, opened


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A first build takes minutes, and is nobody's test."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(300, func_only=True))


@pytest.fixture(scope="session")
def built() -> dict[str, images.Image]:
    """Every image; from the cache where nothing changed."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("buildah", "runc", "nsenter", "curl"))):
        missing("images are looked into and run by root with buildah, runc, nsenter and curl")
    return dict(images.build())


@pytest.fixture(scope="session")
def unpacked(built: dict[str, images.Image]) -> Iterator[dict[str, Unpacked]]:
    """Every image, mounted."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(opened(image)) for name, image in built.items()}
