"""Secrets from files: read anew when they change, refused when absent, both values during a rotation."""

from pathlib import Path

import pytest

from herald_contracts.errors import ConfigurationError
from herald_runtime.secrets import SecretFolder


def test_surrounding_white_space_is_not_part_of_a_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b" s3cret\n")
    assert SecretFolder(tmp_path).get("secret") == b"s3cret"


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    folder = SecretFolder(tmp_path)
    (tmp_path / "secret").write_bytes(b"one")
    assert folder.live("secret") == (b"one",)
    (tmp_path / "new").write_bytes(b"two")
    (tmp_path / "new").replace(tmp_path / "secret")
    (tmp_path / "secret-previous").write_bytes(b"one")
    assert folder.live("secret") == (b"two", b"one")


@pytest.mark.parametrize("content", [None, b"", b" \n"])
def test_missing_and_empty_are_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigurationError, match="'secret' is missing or empty"):
        SecretFolder(tmp_path).get("secret")


def test_no_value_in_an_error(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hunter2" * 20_000)
    with pytest.raises(ConfigurationError) as caught:
        SecretFolder(tmp_path).get("secret")
    assert "hunter2" not in str(caught.value)
