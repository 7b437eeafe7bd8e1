"""`herald channels check-request`, as its page says, and what is typed wrong."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from herald_cli.commands.channels import moment
from herald_cli.main import cli
from herald_contracts.errors import ConfigurationError

PAGE = Path(__file__).parents[3] / "docs/channels/checking.md"
REQUEST, SECRETS, ANSWER = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
(COMMAND,) = re.findall(r"```\nherald (.*?)\n```", PAGE.read_text())


def run(folder: Path, command: str, *, request: str = REQUEST, secrets: str = SECRETS, stdin: str = "") -> Result:
    (folder / "request.json").write_text(request)
    (folder / "secrets.json").write_text(secrets)
    arguments = [str(folder / part) if part.endswith(".json") else part for part in command.split()]
    return CliRunner().invoke(cli, arguments, input=stdin)


def test_the_page_shows_what_is_printed(tmp_path: Path) -> None:
    done = run(tmp_path, COMMAND)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads(ANSWER)


def test_standard_input_and_a_folder_of_secrets_will_do(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(json.loads(SECRETS)["secret"])
    command = f"{COMMAND.removesuffix(' request.json').replace('secrets.json', str(tmp_path))}"
    assert json.loads(run(tmp_path, command, stdin=REQUEST).stdout)["accepted"]


def test_what_is_refused_ends_with_one_and_says_how_to_go_back_in_time(tmp_path: Path) -> None:
    done = run(tmp_path, COMMAND.replace("--at 1795348800 ", "--at 2026-01-01T00:00:00Z "))
    assert done.exit_code == 1
    assert json.loads(done.stdout)["reason"] == "timestamp_out_of_range"
    assert "--at" in done.stderr
    assert run(tmp_path, COMMAND, request=REQUEST.replace("Hello", "hello")).exit_code == 1


@pytest.mark.parametrize(
    ("command", "secrets", "said"),
    [
        (COMMAND, "", "no JSON"),
        (COMMAND, "[]", "one object of keys and texts"),
        (COMMAND, '{"secret": 1}', "one object of keys and texts"),
        (COMMAND, '{"../secret": "x"}', "no key of a Secret"),
        (COMMAND, "{}", "'secret' is missing"),
        (COMMAND + " --set appId", SECRETS, "no FIELD=VALUE"),
        (COMMAND.replace("1795348800", "noon"), SECRETS, "--at: this is no time"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(tmp_path: Path, command: str, secrets: str, said: str) -> None:
    done = run(tmp_path, command, secrets=secrets)
    assert done.exit_code == 78
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["1795348800", "1795348800.0", "2026-11-22T12:00:00Z", "2026-11-22T13:00:00+01:00"])
def test_a_time_may_be_written_in_two_ways(text: str) -> None:
    assert moment(text) == datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "9" * 30, "²", "2026-13-01"])
def test_other_texts_are_no_times(text: str) -> None:
    with pytest.raises(ConfigurationError):
        moment(text)
