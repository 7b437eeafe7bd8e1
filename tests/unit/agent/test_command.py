"""`python -m herald_agent`: what it prints, and how it refuses."""

import json
from pathlib import Path

import pytest

from herald_agent.__main__ import main

SETTINGS = {
    "namespace": "default",
    "name": "demo",
    "revision": "r1",
    "nats": {"url": "nats://127.0.0.1:4222"},
    "database": {"dsn_file": "/nowhere/dsn"},
    "instructions": "Be short.",
    "model": {"backend": "triton", "url": "127.0.0.1:8001"},
    "health_port": 0,
}


def written(folder: Path, **fields: object) -> str:
    file = folder / "agent.json"
    file.write_text(json.dumps(SETTINGS | fields))
    return str(file)


def test_print_config_shows_the_defaults_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--settings", written(tmp_path), "--print-config"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["concurrency"], shown["database"]["pool_max"]) == ("demo", 16, 50)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"concurency": 4}, "concurency"), ({"lease_seconds": 0}, "lease_seconds"), ({"model": {}}, "model")],
)
def test_settings_that_cannot_work_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, object], said: str
) -> None:
    assert main(["--settings", written(tmp_path, **fields)]) == 78
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_no_settings_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--settings", str(tmp_path / "absent")]) == 78
    assert "no settings file" in capsys.readouterr().err
