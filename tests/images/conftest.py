"""The images, built once per session and mounted as long as it lasts. Where they cannot be, their tests are skipped."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tools import images
from tools.images.unpacked import Unpacked, opened

from tests.debian import missing


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
