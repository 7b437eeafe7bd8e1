"""The table of docs/images.md: what each image is, as found in what was built and not as somebody remembers it."""

from collections.abc import Mapping
from pathlib import Path

from tools.images.building import Image
from tools.images.targets import ROOT
from tools.images.unpacked import Unpacked, opened

FILE = ROOT / "docs" / "images.md"
_BEGIN, _END = "<!-- begin: python -m tools.images document -->", "<!-- end -->"
HEADER = ("image", "user", "entry point", "ports", "Python packages", "unpacked MB", "archive MB")
Row = tuple[str, ...]


def row(image: Image, unpacked: Unpacked) -> Row:
    """One image's row. Megabytes are millions of bytes."""
    config = unpacked.config
    command = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    ports = sorted(int(port.split("/")[0]) for port in config.get("ExposedPorts") or ())
    return (
        image.target,
        config.get("User") or "root",
        f"`{' '.join(command)}`",
        ", ".join(map(str, ports)),
        str(len(unpacked.distributions())),
        f"{unpacked.size / 1e6:.0f}",
        f"{image.size / 1e6:.0f}",
    )


def written() -> tuple[Row, ...]:
    """The rows that the file has now."""
    lines = FILE.read_text().partition(_BEGIN)[2].partition(_END)[0].strip().splitlines()
    return tuple(tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:])


def write(built: Mapping[str, Image], file: Path = FILE) -> None:
    """Write the table of all images between its marks."""
    rows = []
    for image in built.values():
        with opened(image) as unpacked:
            rows.append(row(image, unpacked))
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    text = file.read_text()
    before, _, rest = text.partition(_BEGIN)
    file.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{rest.partition(_END)[2]}")
