"""Building and caching, with a Go that only pretends: what is asked of it is written down."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tools.cluster import binaries, golang
from tools.cluster.binaries import MODULES, Module
from tools.cluster.trouble import Trouble

GO = """#!/bin/sh
case "$1" in
env) echo go1.99.0 ;;
build)
    echo "$PWD $*" >>"{calls}"
    test ! -e broken || {{ echo 'main.go:3: undefined: x' >&2; exit 1; }}
    while [ "$1" != -o ]; do shift; done
    cp main.go "$2"
    ;;
mod)
    test ! -e absent || {{ echo 'no such version' >&2; exit 1; }}
    printf '{{"Dir": "%s/shipped"}}' "$PWD"
    ;;
esac
"""
TINY = Module("tiny", ("tiny", "other"))


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often something was compiled."""
    log = tmp_path / "calls"
    log.touch()
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.write_text(GO.format(calls=log))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sources = tmp_path / "sources"
    (sources / "tiny").mkdir(parents=True)
    (sources / "tiny" / "main.go").write_text("package main")
    (sources / "tiny" / "go.mod").write_text("module tiny\n")
    monkeypatch.setattr(binaries, "_SOURCES", sources)
    monkeypatch.setitem(binaries.MODULES, "tiny", TINY)
    return lambda: len(log.read_text().splitlines())


def test_the_second_time_nothing_is_built(calls: Callable[[], int]) -> None:
    assert not binaries.is_built("tiny")
    first = binaries.build("tiny")
    assert binaries.is_built("tiny")
    assert binaries.build("tiny") == first
    assert calls() == 1
    assert binaries.program("other").read_text() == "package main"


@pytest.mark.parametrize("file", ["main.go", "go.mod", "go.sum", "more.go"])
def test_a_change_builds_anew_and_going_back_finds_the_old(calls: Callable[[], int], file: str) -> None:
    first = binaries.build("tiny")
    path = TINY.folder / file
    before = path.read_text() if path.exists() else None
    path.write_text("// changed")
    assert binaries.build("tiny") != first
    path.write_text(before) if before is not None else path.unlink()
    assert binaries.build("tiny") == first
    assert calls() == 2


def test_what_is_not_built_from_does_not_count(calls: Callable[[], int]) -> None:
    first = binaries.build("tiny")
    (TINY.folder / "README.md").write_text("hello")
    assert binaries.build("tiny") == first


def test_another_go_is_another_build() -> None:
    assert MODULES["pause"].key("go1.26.8") != MODULES["pause"].key("go1.26.9")


def test_manifests_that_a_module_ships_are_kept_beside_its_program(
    calls: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = replace(TINY, version_of="example.com/tiny", keeps=("b/*.yaml", "a/*.yaml"), kept_as="all.yaml")
    monkeypatch.setitem(binaries.MODULES, "tiny", keeping)
    (keeping.folder / "go.mod").write_text("module tiny\nrequire example.com/tiny v1.2.3\n")
    for path in ("a/two", "a/one", "a/kustomization", "b/three"):
        file = keeping.folder / "shipped" / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"name: {path}\n")
    kept = (binaries.build("tiny") / "all.yaml").read_text()
    assert kept == "name: b/three\n---\nname: a/one\n---\nname: a/two\n"
    other = replace(keeping, keeps=("c/*.yaml",))
    monkeypatch.setitem(binaries.MODULES, "tiny", other)
    with pytest.raises(Trouble, match=r"example.com/tiny v1.2.3 has no c/\*.yaml any more"):
        binaries.build("tiny")


def test_a_module_without_programs_is_fetched_and_not_compiled(
    calls: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    types = Module("tiny", (), version_of="example.com/tiny", keeps=("*.yaml",), kept_as="types.yaml")
    monkeypatch.setitem(binaries.MODULES, "tiny", types)
    (types.folder / "go.mod").write_text("module tiny\nrequire example.com/tiny v1.2.3\n")
    (types.folder / "absent").touch()
    with pytest.raises(Trouble, match=r"example.com/tiny could not be fetched:\nno such version"):
        binaries.build("tiny")
    (types.folder / "absent").unlink()
    (types.folder / "shipped").mkdir()
    (types.folder / "shipped" / "one.yaml").write_text("one: 1")
    assert (binaries.build("tiny") / "types.yaml").read_text() == "one: 1\n"
    assert calls() == 0


def test_a_failed_build_is_not_kept(calls: Callable[[], int]) -> None:
    (TINY.folder / "broken").touch()
    with pytest.raises(Trouble, match="undefined: x"):
        binaries.build("tiny")
    assert not binaries.is_built("tiny")
    (TINY.folder / "broken").unlink()
    assert (binaries.build("tiny") / "tiny").exists()


def test_a_build_that_was_cut_off_is_not_taken_for_a_good_one(calls: Callable[[], int]) -> None:
    done = binaries.cache() / f"tiny-{TINY.key('go1.99.0')}"
    half = done.with_name(f"{done.name}.part")
    half.mkdir(parents=True)
    (half / "tiny").write_text("half")
    assert (binaries.build("tiny") / "tiny").read_text() == "package main"


def test_two_at_once_build_once(calls: Callable[[], int]) -> None:
    threads = [threading.Thread(target=binaries.build, args=("tiny",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls() == 1
    assert binaries.is_built("tiny")


def test_an_unknown_program_is_named() -> None:
    with pytest.raises(Trouble, match=r"'kubeadm'.*\n.*kubectl"):
        binaries.program("kubeadm")


@pytest.mark.parametrize("name", [name for name, module in MODULES.items() if module.version_of])
def test_every_version_stands_in_its_go_mod(name: str) -> None:
    assert MODULES[name].version().startswith("v")


def test_kubernetes_is_told_its_version() -> None:
    """A server that says v0.0.0 makes clients refuse it."""
    module = MODULES["kubernetes"]
    version = module.version()
    major, minor, _ = version.removeprefix("v").split(".")
    flags = module.linker_flags()
    assert f".gitVersion={version}" in flags
    assert f".gitMajor={major}" in flags
    assert f".gitMinor={minor}" in flags


@pytest.mark.parametrize(
    ("version", "enough"),
    [("go1.26.8", True), ("go1.27rc1", True), ("go2.0", True), ("go1.25.9", False), ("go1.9", False), ("devel", False)],
)
def test_go_must_be_new_enough(version: str, enough: bool) -> None:
    assert golang.new_enough(version) is enough


def test_every_go_mod_can_be_built_by_the_oldest_go_that_is_taken() -> None:
    for module in MODULES.values():
        line = next(x for x in (module.folder / "go.mod").read_text().splitlines() if x.startswith("go "))
        assert tuple(int(x) for x in line.split()[1].split(".")[:2]) <= golang.MINIMUM, module.name
