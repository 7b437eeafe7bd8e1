"""Commands that we print can be typed as they stand."""

import sys
from pathlib import Path

import pytest

from herald_cli import options


def test_the_bare_name_only_where_the_shell_finds_this_very_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = tmp_path / ".venv" / "bin", tmp_path / "other"
    for folder in (ours, other):
        folder.mkdir(parents=True)
        (folder / "herald").write_text("#!/bin/sh\n")
        (folder / "herald").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(ours / "python"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(other))
    assert options.program() == ".venv/bin/herald"
    monkeypatch.setenv("PATH", str(ours))
    assert options.program() == "herald"
    monkeypatch.chdir(other)
    monkeypatch.setenv("PATH", "")
    assert options.program() == str(ours / "herald")
