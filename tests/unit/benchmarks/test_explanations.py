from pathlib import Path

import benchmarks
import pytest
from benchmarks.explanations import Explanation, Unreadable, read

GOOD = '[P6]\nwhy = "the disk"\nprofile = """perf record,\n  60 s: 40 % in fdatasync"""\nnext = "batch"\n'


def test_reads_and_joins_lines() -> None:
    assert read(GOOD) == {"P6": Explanation("the disk", "perf record, 60 s: 40 % in fdatasync", "batch")}


def test_none_is_fine() -> None:
    assert read("# nothing missed\n") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD.replace("P6", "P99"), "no such goal"),
        ('[P6]\nwhy = "slow"\nnext = "try"\n', "exactly the fields"),
        (GOOD.replace("next", "then"), "exactly the fields"),
        ('[P6]\nwhy = "slow"\nprofile = " "\nnext = "try"\n', r"P6\.profile"),
        ('[P6]\nwhy = "slow"\nprofile = 3\nnext = "try"\n', r"P6\.profile"),
        ('P6 = "slow"\n', "exactly the fields"),
        ("[P6\n", "not TOML"),
    ],
)
def test_an_explanation_without_its_profile_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Unreadable, match=problem):
        read(text)


def test_the_file_that_ships_can_be_read() -> None:
    assert benchmarks.__file__ is not None
    read((Path(benchmarks.__file__).parent / "explanations.toml").read_text())
