"""What is rendered, word for word: a change of a builder shows here as the change of a file that somebody reviews.

After a change that is meant: `UPDATE_SNAPSHOTS=1 .venv/bin/pytest tests/unit/operator/test_snapshots.py`, and read the
difference before it is committed.
"""

import json
import os
from pathlib import Path

import pytest

from tests.unit.operator.specs import ALL, rendered

FOLDER = Path(__file__).parent / "snapshots"


@pytest.mark.parametrize("name", ["quickstart", "production", "openai", "failover"])
def test_what_is_rendered_is_what_was_reviewed(name: str) -> None:
    made = {f"{body['kind']}/{body['metadata']['name']}": body for body in rendered(ALL[name])}
    text = json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    path = FOLDER / f"{name}.json"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    known = json.loads(path.read_text())
    assert sorted(made) == sorted(known), "UPDATE_SNAPSHOTS=1 if it is meant"
    for child, body in made.items():
        assert body == known[child], f"{child}: UPDATE_SNAPSHOTS=1 if it is meant"
    assert path.read_text() == text
