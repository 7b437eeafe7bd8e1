"""Starts that cannot work: each ends soon, with one readable reason, and leaves nothing running."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from herald_cli import chat_model
from herald_cli.servers import postgres
from tests.integration.cli.running import Herald, write_deployment

pytestmark = pytest.mark.timeout(300)


def refused(herald: Herald, code: int = 78) -> str:
    """What a start that fails says; nothing may be left of it, and no traceback may be in it."""
    told = herald.up(code=code).stderr
    assert "Traceback" not in told
    assert "herald up -f FILE" in herald.run("status", code=1).stderr
    assert herald.litter == []
    return told


def test_the_port_that_was_asked_for_is_taken(herald: Herald, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        write_deployment(herald.file, local={"port": port})
        told = refused(herald)
        assert f"spec.local.port: port {port} on 127.0.0.1 is taken by" in told
        assert f"(pid {os.getpid()})" in told


def test_a_typo_is_answered_before_anything_is_made(herald: Herald) -> None:
    text = herald.file.read_text()
    line = next(n for n, row in enumerate(text.splitlines(), 1) if row.strip().startswith("instructions:"))
    herald.file.write_text(text.replace("instructions:", "instuctions:"))
    for command in (["up", "-f", str(herald.file)], ["up", "-f", str(herald.file), "--detach"]):
        told = herald.run(*command, code=78).stderr
        assert f"agent.yaml:{line}: spec.instuctions: unknown field (did you mean instructions?)" in told
    assert not herald.state.exists()


def test_data_of_another_postgres(herald: Herald) -> None:
    data = herald.state / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    told = refused(herald)
    assert f"{data}: holds data of PostgreSQL 16, this Herald brings PostgreSQL {postgres.MAJOR}" in told
    assert "move the folder away" in told
    assert (data / "PG_VERSION").read_text() == "16\n", "it is not touched"


def test_a_model_file_that_is_not_there(herald: Herald) -> None:
    write_deployment(herald.file, inference={"model": "none.gguf"})
    assert f"spec.inference.model: no model file at {herald.file.parent / 'none.gguf'}" in refused(herald)


def test_a_model_file_that_is_something_else(herald: Herald) -> None:
    (herald.file.parent / "model.gguf").write_bytes(b"<html>404 not found</html>")
    write_deployment(herald.file, inference={"model": "model.gguf"})
    assert "is not a GGUF file" in refused(herald)


def test_a_model_file_that_was_cut_off_in_its_header(herald: Herald) -> None:
    whole = chat_model.locate(chat_model.SMOLLM2, Path())
    with whole.open("rb") as file:
        (herald.file.parent / "model.gguf").write_bytes(file.read(20_000))
    write_deployment(herald.file, inference={"model": "model.gguf"})
    assert "model.gguf" in refused(herald)


def test_a_model_file_that_was_cut_off_in_its_weights(herald: Herald) -> None:
    """Only the server can find that out; its own line about it is what a person sees."""
    whole = chat_model.locate(chat_model.SMOLLM2, Path())
    with whole.open("rb") as file:
        (herald.file.parent / "model.gguf").write_bytes(file.read(20_000_000))
    write_deployment(herald.file, inference={"model": "model.gguf"})
    told = refused(herald, code=1)
    assert "triton did not start" in told
    assert "model.gguf" in told
    assert "herald logs" in told


def test_a_disk_that_takes_no_more(herald: Herald) -> None:
    """A limit on the size of files stands in for a full disk: the same writes fail, at the same places."""
    limited = Herald(herald.state, herald.file, prefix=("bash", "-c", 'ulimit -f 64; exec "$@"', "bash"))
    told = refused(limited)
    assert "initdb failed" in told or "a file would grow beyond the limit" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_disk_that_is_too_small(herald: Herald) -> None:
    herald.state.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "herald-test", str(herald.state)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        told = refused(herald)
        assert "MiB are free on this disk" in told
        assert "--state" in told
    finally:
        subprocess.run(["umount", str(herald.state)], check=True)


def test_a_state_folder_that_cannot_be_made(herald: Herald, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = Herald(tmp_path / "file" / "state", herald.file)
    told = blocked.run("up", "-f", str(herald.file), code=78).stderr
    assert str(tmp_path / "file") in told
    assert "Traceback" not in told


def test_a_part_that_refuses_its_configuration_is_not_tried_again(herald: Herald) -> None:
    """A Secret of the file that only the gateway can judge."""
    herald.file.write_text(
        herald.file.read_text()
        + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: std-key}\nstringData: {secret: not-whsec}\n"
    )
    told = refused(herald, code=1)
    assert "gateway did not start: configuration refused" in told
    assert "whsec_" in told
    assert "not-whsec" not in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
def test_a_root_that_may_not_become_another_user(herald: Herald) -> None:
    weak = Herald(herald.state, herald.file, prefix=("setpriv", "--bounding-set=-all,+chown", "--inh-caps=-all", "--"))
    assert "run Herald as an ordinary user" in refused(weak)


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs as an ordinary user already")
def test_an_ordinary_user_can_run_it(tmp_path: Path) -> None:
    """With an environment and folders that this user can read, as on any machine of theirs."""
    python = shutil.which("python3", path="/usr/bin")
    site = next(Path(p) for p in sys.path if p.endswith("site-packages"))
    if (
        python is None
        or subprocess.run(
            [python, "-c", f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]}"]
        ).returncode
    ):
        pytest.skip("needs a second Python of the same version that everybody can read")
    home = Path("/var/tmp") / f"herald-user-{os.getpid()}"
    home.mkdir()
    try:
        subprocess.run([python, "-m", "venv", "--without-pip", str(home / "venv")], check=True)
        (next((home / "venv").glob("lib/python*/site-packages")) / "herald.pth").write_text(
            f"import site; site.addsitedir({str(site)!r})\n"
        )
        shutil.copy2(Path(sys.executable).parent / "nats-server", home / "venv" / "bin")
        subprocess.run(["chown", "-R", "nobody:nogroup", str(home)], check=True)
        herald = Herald(
            home / "state",
            write_deployment(home / "agent.yaml"),
            prefix=("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
            command=(str(home / "venv/bin/python"), "-m", "herald_cli"),
            environment={"HOME": str(home)},
        )
        try:
            herald.up()
            assert herald.json("send", "hello")["reply"]["text"] == "echo: hello"
            assert herald.json("doctor")["healthy"]
            owners = {Path(f"/proc/{p.pid}").stat().st_uid for p in herald.family()}
            assert len(owners) == 1
            assert owners != {0}
        finally:
            herald.down()
    finally:
        shutil.rmtree(home)
