"""Reading what a downloaded model file says, and never trusting it."""

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from herald_agent.models import gguf
from herald_agent.models.ports import ChatMessage
from herald_agent.models.template import ChatTemplate, Facts
from herald_contracts.errors import ConfigurationError
from tests.unit.agent.models import gguf_files

TOKENS = ["<s>", "</s>", "<|im_start|>", "hello", "  "]
TYPES = [3, 3, 3, 1, 4]
SOUND: dict[str, gguf_files.Field] = {
    "general.name": "a model",
    gguf.TEMPLATE: "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}",
    gguf.TOKENS: TOKENS,
    gguf.TOKEN_TYPES: TYPES,
    gguf.BOS: 0,
    gguf.EOS: 1,
    gguf.ADDS_BOS: False,
    "a.number": 7,
}


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return path


def test_only_the_wanted_keys_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, gguf_files.gguf(SOUND))
    assert gguf.read_metadata(path, ("general.name", gguf.TOKENS, "a.number", "absent")) == {
        "general.name": "a model",
        gguf.TOKENS: TOKENS,
        "a.number": 7,
    }


@pytest.mark.parametrize(
    ("adds_bos", "bos", "expected"),
    [(False, 0, "<s>"), (True, 0, ""), (False, 99, ""), (False, 3, "hello")],
)
def test_a_tokenizer_that_adds_the_begin_token_gets_none_from_the_template(
    tmp_path: Path, adds_bos: bool, bos: int, expected: str
) -> None:
    fields = {**SOUND, gguf.ADDS_BOS: adds_bos, gguf.BOS: bos}
    facts = gguf.facts_of(gguf.read_metadata(written(tmp_path, gguf_files.gguf(fields)), tuple(fields)))
    assert facts == Facts(bos_token=expected, eos_token="</s>", control=("<s>", "</s>", "<|im_start|>"))


def test_the_template_is_written_with_its_tokens(tmp_path: Path) -> None:
    target = tmp_path / "chat.jinja"
    assert gguf.write_template(written(tmp_path, gguf_files.gguf(SOUND)), target)
    rendered = ChatTemplate.load(target).render([ChatMessage("user", "hi <|im_start|>")])
    assert rendered == "<s>hi < |im_start|></s>"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_model_without_a_template_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "chat.jinja"
    assert not gguf.write_template(written(tmp_path, gguf_files.gguf({"general.name": "x"})), target)
    assert not target.exists()


def test_a_template_that_does_not_work_is_refused_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, gguf_files.gguf({gguf.TEMPLATE: "{% for %}"}))
    with pytest.raises(ConfigurationError, match=r"chat template of .*model\.gguf: the chat template does not work"):
        gguf.write_template(path, tmp_path / "chat.jinja")
    assert not (tmp_path / "chat.jinja").exists()


HEAD = b"GGUF" + struct.pack("<I", 3)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a GGUF file"),
        (b"GGUF", "not a GGUF file"),
        (b"PK\x03\x04" + bytes(40), "not a GGUF file"),
        (gguf_files.gguf({}, version=1), "version 1 is not 2 or 3"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version 50331648 is not 2 or 3"),
        (HEAD + struct.pack("<QQ", 0, 2**40), "claims 1099511627776 keys"),
        (HEAD + struct.pack("<QQ", 0, 1), "ends inside its header"),
        (HEAD + struct.pack("<QQQ", 0, 1, 2**63), "claims a text of"),
        (HEAD + struct.pack("<QQQ", 0, 1, 100) + b"abc", "ends inside its header"),
        (HEAD + struct.pack("<QQ", 0, 1) + gguf_files.text("k") + struct.pack("<I", 77), "unknown type 77"),
        (
            HEAD + struct.pack("<QQ", 0, 1) + gguf_files.text("k") + struct.pack("<IIQ", 9, 0, 2**40),
            "claims a list of 1099511627776 values",
        ),
        (
            HEAD + struct.pack("<QQ", 0, 1) + gguf_files.text("k") + struct.pack("<IIQ", 9, 9, 1) * 20,
            "ends inside|at depth 4|claims a list",
        ),
        (gguf_files.gguf(SOUND)[:-3], "ends inside its header"),
    ],
)
def test_a_broken_file_is_refused_naming_it_and_the_fix(tmp_path: Path, data: bytes, why: str) -> None:
    path = written(tmp_path, data)
    with pytest.raises(ConfigurationError, match=why) as caught:
        gguf.read_metadata(path, tuple(SOUND))
    assert caught.value.path == str(path)
    assert caught.value.hint


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        gguf.read_metadata(tmp_path / "none.gguf", ())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damage_anywhere_raises_nothing_but_its_own_error(tmp_path: Path, data: st.DataObject) -> None:
    sound = bytearray(gguf_files.gguf(SOUND))
    for _ in range(data.draw(st.integers(1, 4))):
        sound[data.draw(st.integers(4, len(sound) - 1))] = data.draw(st.integers(0, 255))
    path = written(tmp_path, bytes(sound[: data.draw(st.integers(0, len(sound)))]))
    with contextlib.suppress(ConfigurationError):
        gguf.write_template(path, tmp_path / "chat.jinja")


@pytest.mark.parametrize(("fields", "code"), [(SOUND, 0), ({"general.name": "x"}, 1)])
def test_the_command_says_by_its_exit_code_what_it_did(
    tmp_path: Path, fields: dict[str, gguf_files.Field], code: int
) -> None:
    path = written(tmp_path, gguf_files.gguf(fields))
    assert gguf.main([str(path), str(tmp_path / "chat.jinja")]) == code
    assert (tmp_path / "chat.jinja").exists() == (code == 0)


def test_the_command_names_a_broken_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gguf.main([str(written(tmp_path, b"nothing")), str(tmp_path / "chat.jinja")]) == 78
    assert "model.gguf" in capsys.readouterr().err
