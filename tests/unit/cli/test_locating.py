"""Finding what others brought: the chat model's file, Python's library, the servers, the examples."""

import os
from pathlib import Path

import pytest

from herald_cli import chat_model, deployment_file, local
from herald_cli.servers import libpython, nats, postgres, triton
from herald_cli.servers.program import File, Program
from herald_contracts.errors import ConfigurationError

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda f: f.name)
def test_every_example_is_a_good_file(file: Path) -> None:
    assert deployment_file.read(file).bundle.deployment.spec.channels


def test_the_test_example_has_all_kinds_of_channels() -> None:
    spec = deployment_file.read(next(f for f in EXAMPLES if f.name == "test.yaml")).bundle.deployment.spec
    given = [[c.web, c.hmac, c.standard_webhooks, c.feishu] for c in spec.channels]
    assert all(any(row[kind] is not None for row in given) for kind in range(4))
    assert spec.inference.model == "scripted"


def test_the_quickstart_is_the_smallest_that_works() -> None:
    spec = deployment_file.read(next(f for f in EXAMPLES if f.name == "quickstart.yaml")).bundle.deployment.spec
    assert spec.model_fields_set == {"instructions", "channels", "inference"}


def test_smollm2_comes_from_its_package(tmp_path: Path) -> None:
    assert chat_model.locate(chat_model.SMOLLM2, tmp_path).read_bytes()[:4] == b"GGUF"


def test_a_path_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "own.gguf").write_bytes(b"GGUF....")
    assert chat_model.locate("models/own.gguf", tmp_path) == tmp_path / "models" / "own.gguf"
    assert chat_model.locate(str(tmp_path / "models/own.gguf"), Path("/")) == tmp_path / "models" / "own.gguf"


@pytest.mark.parametrize(
    ("content", "says"), [(None, "no model file at"), (b"<html>", "is not a GGUF file"), (b"", "is not a GGUF file")]
)
def test_a_file_that_is_no_model_names_the_field(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(ConfigurationError, match=says) as refused:
        chat_model.locate("x.gguf", tmp_path)
    assert refused.value.path == "spec.inference.model"
    assert refused.value.hint


def test_the_model_repository_is_found() -> None:
    assert (local.repository() / "README.md").exists()


def test_the_packages_bring_their_servers() -> None:
    assert os.access(nats.binary(), os.X_OK)
    assert os.access(postgres.binaries() / "postgres", os.X_OK)
    assert os.access(triton.package() / "bin" / "tritonserver", os.X_OK)


def test_pythons_own_library_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("own", "system"):
        (tmp_path / name).mkdir()
        (tmp_path / name / libpython.NAME).write_text(name)
    monkeypatch.setattr(libpython, "_folders", lambda: [tmp_path / "none", tmp_path / "own", tmp_path / "system"])
    assert libpython.locate().read_text() == "own"


def test_a_fetched_library_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpython, "_folders", list)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")  # nothing to fetch it with
    with pytest.raises(ConfigurationError, match="could not be fetched") as refused:
        libpython.locate()
    assert "sudo apt-get install libpython3." in refused.value.hint
    libpython.cache().mkdir(parents=True)
    (libpython.cache() / libpython.NAME).write_text("kept")
    assert libpython.locate().read_text() == "kept"


def test_a_program_shows_no_content_of_its_files() -> None:
    made = Program(name="x", argv=("x",), cwd=Path(), files=(File(Path("f"), "s3cret"),))
    assert "s3cret" not in repr(made)
