"""What is printed while something is watched: each change once."""

import pytest

from herald_cli.kubectl.watching import Screen


def test_a_file_gets_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(again=True)
    for age, state in enumerate(("starting", "starting", "ready", "ready")):
        screen.show([f"{state} for {age} s"], state)
    assert capsys.readouterr().out.splitlines() == ["starting for 0 s", "ready for 2 s"]


def test_documents_too(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(again=True)
    for ready in (False, False, True):
        screen.document({"ready": ready})
    assert capsys.readouterr().out.splitlines() == ['{"version": 1, "ready": false}', '{"version": 1, "ready": true}']
