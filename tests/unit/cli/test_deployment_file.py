"""A person's file: every complaint names the file, the line, the field and, where there is one, the way out."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_cli.deployment_file import InvalidFile, read
from herald_contracts.errors import ConfigurationError

GOOD = """\
apiVersion: herald.dev/v1alpha1
kind: AgentDeployment
metadata:
  name: support
spec:
  instructions: You answer.
  channels:
    - name: web
      web: {}
    - name: hmac
      hmac:
        secretRef: {name: key}
        replyURL: http://127.0.0.1:9/r
  inference:
    model: scripted
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {secret: s3cret}
"""


def problems(tmp_path: Path, text: str) -> tuple[str, ...]:
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    with pytest.raises(InvalidFile) as refused:
        read(file)
    return tuple(p.removeprefix(f"{file}:") for p in refused.value.problems)


def test_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(GOOD)
    found = read(file)
    assert found.bundle.deployment.metadata.name == "support"
    assert found.bundle.secrets == {"key": {"secret": b"s3cret"}}
    assert found.path == file.resolve()


def test_the_digest_tells_whether_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(GOOD)
    first = read(file).digest
    assert read(file).digest == first
    file.write_text(GOOD + "\n")
    assert read(file).digest != first


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  instructions:", "  instuctions:", "6: spec.instuctions: unknown field (did you mean instructions?)"),
        ("    model: scripted", "    model: scripted\n    modle: x", "16: spec.inference.modle: unknown field"),
        ("        replyURL:", "        replyUrl:", "13: spec.channels[1].hmac.replyUrl: unknown field (did you"),
        ("      web: {}", "      web: {}\n      slack: {}", "10: spec.channels[0].slack: does not work in"),
        ("  name: support", "  name: Support", "4: metadata.name: string should match"),
        ("    - name: hmac\n", "    - name: web\n", "5: spec: channels: the name 'web' is used twice"),
        ("secretRef: {name: key}", "secretRef: 7", "12: spec.channels[1].hmac.secretRef"),
        ("http://127.0.0.1:9/r", "http://example.com/r", "13: spec.channels[1].hmac.replyURL: string"),
        ("kind: AgentDeployment", "kind: Deployment", "2: document 1.kind: 'Deployment' is not known"),
        ("stringData: {secret: s3cret}", "data: {secret: '***'}", "20: document 2.data.secret: is not base64"),
        ("metadata: {name: key}", "metadata: {}", "19: document 2.metadata.name: a Secret needs a name"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = problems(tmp_path, GOOD.replace(old, new, 1))
    assert any(problem.startswith(expected) for problem in found), found


def test_every_mistake_is_named_not_only_the_first(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("  instructions:", "  instuctions:").replace("model:", "modell:"))
    assert any("spec.instuctions" in p for p in found)
    assert any("spec.inference.modell" in p for p in found)


def test_a_missing_field_is_named_at_the_line_of_what_lacks_it(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("  instructions: You answer.\n", ""))
    assert any(p.startswith("5: spec: exactly one of instructions") for p in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "3: 'a' is given twice, first on line 1"),
        (GOOD + "spec: {x: 1, x: 2}\n", "21: 'x' is given twice, first on line 21"),
        ("a: [1, 2\nb: 3\n", "2: "),
        ("a:\n\t- b\n", "2: found character '\\t' that cannot start any token"),
        ("? [a, b]\n: 1\n", "1: a key must be plain text"),
        ("a: !!python/object:os.system {}\n", "1: could not determine a constructor"),
        ("", " (file): needs exactly one AgentDeployment, found 0"),
        ("- a\n- b\n", "1: document 1: is not a mapping"),
        ("just text\n", "1: document 1: is not a mapping"),
        ("a: !!int x\n", " is not YAML: invalid literal for int"),
        ("a: &x [*x]\n", " is nested too deeply, or contains itself"),
        ("[" * 20_000, " is nested too deeply, or contains itself"),
    ],
)  # fmt: skip
def test_yaml_that_cannot_be_meant(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, text)
    assert found[0].startswith(expected), found


def test_two_deployments_in_one_file(tmp_path: Path) -> None:
    first = GOOD.split("---")[0]
    assert "exactly one AgentDeployment, found 2" in problems(tmp_path, f"{first}---\n{first}")[0]


def test_a_name_that_looks_like_a_date_is_a_name(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(GOOD.replace("name: support", "name: 2026-01-01"))
    assert read(file).bundle.deployment.metadata.name == "2026-01-01"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file") as refused:
        read(tmp_path / "none.yaml")
    assert "herald up -f FILE" in refused.value.hint


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Is a directory"):
        read(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("#" * 1_100_000)
    with pytest.raises(ConfigurationError, match="larger than 1 MiB"):
        read(file)


@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda t: t.encode("utf-8", "replace"))))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_bytes(data)
    with pytest.raises(ConfigurationError):
        read(file)


@given(
    line=st.integers(0, len(GOOD.splitlines()) - 1),
    replacement=st.text(alphabet="abc:[]{}-&*!|>'\"#%@ \t0", max_size=20),
)
def test_a_broken_line_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, line: int, replacement: str
) -> None:
    lines = GOOD.splitlines()
    lines[line] = replacement
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_text("\n".join(lines))
    with contextlib.suppress(ConfigurationError):
        assert read(file).bundle.deployment.kind == "AgentDeployment"
