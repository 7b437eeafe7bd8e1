"""An image's name is made of what goes into it, so a change of any of that must change the name."""

import re
from pathlib import Path, PurePosixPath

import pytest
from tools.images import targets
from tools.images.targets import ROOT, TARGETS


def _copied(dockerfile: str, stage: str) -> set[str]:
    """What the stages that make up `stage` copy out of the repository."""
    stages: dict[str, str] = {}
    for part in re.split(r"^FROM ", (ROOT / dockerfile).read_text(), flags=re.MULTILINE)[1:]:
        head = part.splitlines()[0]
        stages[head.split(" AS ")[1]] = part
    found: set[str] = set()
    todo = [stage]
    while todo:
        part = stages[todo.pop()]
        todo += [s for s in stages if re.search(rf"--from={s}\b(?!-)", part) or part.startswith(f"{s} AS ")]
        for line in re.findall(r"^COPY (?!--from)(.+)$", part, re.MULTILINE):
            found |= set(line.split()[:-1])
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_every_copied_file_is_in_the_name(name: str) -> None:
    target = TARGETS[name]
    files = {str(p.relative_to(ROOT)) for p in target.files()}
    copied = _copied(target.dockerfile, target.stage)
    assert copied
    for source in copied - {"pyproject.toml"}:  # the lock has what of it matters
        folder = PurePosixPath(source)
        assert source in files or any(PurePosixPath(file).is_relative_to(folder) for file in files), source
        if (ROOT / source).is_dir():
            inside = {str(p.relative_to(ROOT)) for p in (ROOT / source).rglob("*.py") if "__pycache__" not in p.parts}
            assert inside <= files, source


def test_other_contents_other_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images/build").mkdir(parents=True)
    (tmp_path / "images/Dockerfile").write_text("FROM scratch")
    (tmp_path / "gateway").mkdir()
    monkeypatch.setattr(targets, "ROOT", tmp_path)
    names = set()
    for content in ("one", "two"):
        (tmp_path / "gateway/module.py").write_text(content)
        names.add(TARGETS["gateway"].digest("base"))
    names.add(TARGETS["gateway"].digest("another base"))
    assert len(names) == 3
    agents = TARGETS["agent"].digest("base")
    (tmp_path / "gateway/module.py").write_text("three")
    assert TARGETS["agent"].digest("base") == agents
