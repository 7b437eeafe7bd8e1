"""What a few tests need of the system's packages. Without it they are skipped and say so; CI lets them fail.

CI sets HERALD_REQUIRE_PACKAGES=1, so that a test that nobody runs cannot pass for one that holds.
"""

import os
from pathlib import Path
from typing import NoReturn

import pytest

_FAKETIME = "lib/*/faketime/libfaketimeMT.so.1"  # for programs of several threads


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be missing."""
    if os.environ.get("HERALD_REQUIRE_PACKAGES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def clock_off_by(seconds: int) -> dict[str, str]:
    """Environment of a process whose wall clock is wrong by `seconds`; how fast time passes stays as it is."""
    found = next(Path("/usr").glob(_FAKETIME), None)
    if found is None:
        missing("no libfaketime on this machine: apt-get install libfaketime")
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME": f"{seconds:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",  # its shared memory would outlive the process
    }
