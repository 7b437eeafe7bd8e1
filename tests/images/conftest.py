"""The images, each built and mounted when a test first asks for it. Where they cannot be, their tests are skipped."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from tools import images
from tools.images.unpacked import Unpacked, opened

from tests.debian import missing

_NEEDED = ("buildah", "mmdebstrap", "runc", "nsenter", "ip", "curl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A first build takes minutes, and is nobody's test."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(300, func_only=True))


class _Unpacked(Mapping[str, Unpacked]):
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._opened: dict[str, Unpacked] = {}

    def __getitem__(self, name: str) -> Unpacked:
        if name not in self._opened:
            self._opened[name] = self._stack.enter_context(opened(images.build([name])[name]))
        return self._opened[name]

    def __iter__(self) -> Iterator[str]:
        return iter(images.TARGETS)

    def __len__(self) -> int:
        return len(images.TARGETS)


@pytest.fixture(scope="session")
def unpacked() -> Iterator[Mapping[str, Unpacked]]:
    """Every image by its target, mounted as long as the session lasts."""
    absent = [program for program in _NEEDED if shutil.which(program) is None]
    if absent or os.geteuid() != 0:
        missing(f"images are looked into and run by root, and here is no {', '.join(absent) or 'root'}")
    with ExitStack() as stack:
        yield _Unpacked(stack)
