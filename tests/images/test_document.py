"""docs/images.md says what the images are. Sizes may drift a little with each update of a dependency."""

from collections.abc import Mapping

import pytest
from tools import images
from tools.images import table
from tools.images.unpacked import Unpacked

_DRIFT = 0.2


@pytest.mark.parametrize("name", images.TARGETS)
def test_the_table_is_true(unpacked: Mapping[str, Unpacked], name: str) -> None:
    found = table.row(images.build([name])[name], unpacked[name])
    written = next(row for row in table.written() if row[0] == name)
    again = "run `python -m tools.images document`"
    assert written[:5] == found[:5], again
    for says, is_ in zip(written[5:], found[5:], strict=True):
        assert float(says) == pytest.approx(float(is_), rel=_DRIFT), again
