"""Which cluster `make e2e` works on: a KUBECONFIG that happens to be in the environment may be production."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e import foreign

ROOT = Path(__file__).parents[3]


def _recipe(*arguments: str, **environment: str) -> str:
    """What make would run."""
    known = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "MAKEFLAGS", "MFLAGS")}
    done = subprocess.run(
        ["make", "-n", "e2e", *arguments], cwd=ROOT, env=known | environment, capture_output=True, text=True, check=True
    )
    return next(line for line in done.stdout.splitlines() if "pytest tests/e2e" in line)


def test_a_kubeconfig_that_was_given() -> None:
    assert f"{foreign.KUBECONFIG}='some/file' " in _recipe("KUBECONFIG=some/file")
    assert f"{foreign.KUBECONFIG}='given' " in _recipe("KUBECONFIG=given", KUBECONFIG="production")


@pytest.mark.parametrize("flags", [(), ("-e",)])
def test_one_of_the_environment_is_left_alone(flags: tuple[str, ...]) -> None:
    assert foreign.KUBECONFIG not in _recipe(*flags, KUBECONFIG="production")
