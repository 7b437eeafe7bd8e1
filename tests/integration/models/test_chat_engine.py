"""The chat model's engine with the real llama.cpp and the packaged model: shape, never content."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from herald_cli import chat_model
from tests.integration.models import engine_probe

GGUF = chat_model.locate(chat_model.SMOLLM2, Path())


@pytest.fixture(scope="module")
def seen() -> Any:
    done = subprocess.run(
        [sys.executable, engine_probe.__file__, str(GGUF)], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout)


def test_an_answer_grows_and_is_counted(seen: Any) -> None:
    text, finish, tokens_in, tokens_out = seen["answer"]
    assert seen["shown"][-1] == text
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(seen["shown"]))
    assert finish in ("stop", "length")
    assert tokens_in > 5
    assert 1 <= tokens_out <= 8


def test_text_ends_at_whole_characters(seen: Any) -> None:
    text, finish, shown = seen["characters"]
    assert (text, finish) == ("é😀👍🏽日本語", "stop")
    assert all(text.startswith(so_far) for so_far in shown)
    assert len(shown) > 3
    text, finish, shown = seen["cut"]
    assert finish == "length"
    assert "\ufffd" not in text
    assert "😀👍🏽日本語".startswith(text)


def test_stopping_ends_it_at_the_next_token_and_frees_the_slot(seen: Any) -> None:
    finish, count = seen["stopped"]
    assert finish is None
    assert count <= 5
    assert seen["after stopped"] in ("stop", "length")


def test_a_prompt_still_being_read_can_be_left(seen: Any) -> None:
    assert seen["stopped while reading"] == [None, []]


def test_errors_are_told_apart_and_leave_it_working(seen: Any) -> None:
    kind, text = seen["errors"]["too long"]
    assert kind == "Refused"
    assert text.startswith("the prompt is too long: 3")
    assert text.endswith("and the context has 1024")
    assert seen["errors"]["bad"][0] == "Refused"
    assert seen["errors"]["lost"] == ["LookupError", "the connection is gone"]
    assert seen["after errors"] in ("stop", "length")


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, "HERALD_CHAT_GGUF is not set"),
        ({"HERALD_CHAT_GGUF": "x", "HERALD_CHAT_SLOTS": "0"}, "HERALD_CHAT_SLOTS is '0'"),
        ({"HERALD_CHAT_GGUF": "x", "HERALD_CHAT_THREADS": "many"}, "HERALD_CHAT_THREADS is 'many'"),
        ({"HERALD_CHAT_GGUF": "x", "HERALD_CHAT_CONTEXT": "10"}, "HERALD_CHAT_CONTEXT is '10'"),
    ],
)
def test_a_setting_that_cannot_be_is_named(environment: dict[str, str], why: str) -> None:
    engine = engine_probe.load()
    with pytest.raises(engine.EngineError, match=why):
        engine.Settings.of(environment)


_LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.integration.models import engine_probe
engine = engine_probe.load()
try:
    running = engine.Engine(engine.Settings.of({"HERALD_CHAT_GGUF": sys.argv[2], "HERALD_CHAT_CONTEXT": "256"}))
except engine.EngineError as e:
    print(e)
else:
    import os, pathlib
    links = [pathlib.Path("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
    own = {os.readlink(link) for link in links if link.is_symlink()}
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]:
            if f"socket:[{line.split()[9]}]" in own:
                print("listens at", line.split()[1])
    for line in pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]:
        if f"socket:[{line.split()[6]}]" in own and len(line.split()) > 7:
            print("socket at", line.split()[7], "exists" if os.path.exists(line.split()[7]) else "gone")
"""


def loaded(gguf: Path) -> str:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(root), str(gguf)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot read {path}: No such file or directory; check the path"),
        (b"", "{path} is not a GGUF file"),
        (b"PK\x03\x04 a zip", "{path} is not a GGUF file"),
        (b"GGUF and then nothing of the kind", "llama.cpp cannot load {path}"),
        ("half", "llama.cpp cannot load {path}"),
    ],
)
def test_a_file_that_does_not_load_is_named_with_the_fix(tmp_path: Path, content: Any, why: str) -> None:
    path = tmp_path / "bad.gguf"
    if content == "half":
        with GGUF.open("rb") as file:
            path.write_bytes(file.read(GGUF.stat().st_size // 2))
    elif content is not None:
        path.write_bytes(content)
    told = loaded(path)
    assert why.format(path=path) in told
    assert "HERALD_CHAT_GGUF" in told


def test_there_is_no_way_in_but_ours() -> None:
    told = loaded(GGUF)
    assert "listens at" not in told
    assert told.startswith("socket at ")
    assert told.strip().endswith("gone")
