"""A build gets the index, the proxy and the authorities of its machine, whoever they were written down for."""

from pathlib import Path

import pytest
from tools.images import surroundings

INDEX, MORE = "https://index.example/simple", "https://more.example/simple"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".config/uv").mkdir(parents=True)
    (tmp_path / ".config/pip").mkdir(parents=True)
    return tmp_path


def test_a_machine_without_particulars(home: Path) -> None:
    assert "INDEX" not in surroundings.script({"PIP_CONFIG_FILE": "/dev/null"}, home)


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"])
def test_the_environment(home: Path, name: str) -> None:
    assert f"export UV_DEFAULT_INDEX={INDEX}\n" in surroundings.script({name: INDEX}, home)


def test_files_of_pip_and_uv(home: Path) -> None:
    (home / ".config/pip/pip.conf").write_text(
        f"[global]\nindex-url = {INDEX}\nextra-index-url =\n  {MORE}\n  {MORE}/2\n"
    )
    script = surroundings.script({}, home)
    assert f"export UV_DEFAULT_INDEX={INDEX}\n" in script
    assert f"export UV_INDEX='{MORE} {MORE}/2'\n" in script
    (home / ".config/uv/uv.toml").write_text(f'[[index]]\nurl = "{MORE}"\ndefault = true\n')
    assert f"export UV_DEFAULT_INDEX={MORE}\n" in surroundings.script({}, home)


def test_a_value_is_never_a_command(home: Path) -> None:
    script = surroundings.script({"HTTPS_PROXY": "http://u:p$(id)@proxy.example"}, home)
    assert "export HTTPS_PROXY='http://u:p$(id)@proxy.example'\n" in script


def test_authorities(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("x")
    assert surroundings.authorities({"PIP_CERT": str(bundle), "SSL_CERT_FILE": str(tmp_path / "none")}) == bundle
