"""`python -m tools.images`: build, list and throw away images."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.images import base, engines, table
from tools.images.building import build, cache_folder
from tools.images.targets import TARGETS
from tools.images.trouble import Trouble


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.images", description="Build Herald's images.")
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="build what is not there yet and print names and archives")
    building.add_argument("--target", action="append", choices=list(TARGETS), help="only this one (again for more)")
    building.add_argument(
        "--base",
        default=base.AUTO,
        metavar="REFERENCE",
        help="image to stand on, or `local`: a Debian made here (default: the Dockerfile's, else local)",
    )
    building.add_argument("--refresh-base", action="store_true", help="take the base anew: security updates")
    building.add_argument("--out", type=Path, metavar="DIR", help="put archives and images.json there as well")
    building.add_argument("--source", default="unknown", metavar="URL", help="label org.opencontainers.image.source")
    building.add_argument("--install", action="store_true", help="as root: install buildah and mmdebstrap")
    commands.add_parser("list", help="targets, and the archives that are there")
    commands.add_parser("document", help="write the table of docs/images.md from what was built")
    commands.add_parser("clean", help="throw away archives, layers and the base")
    chosen = parser.parse_args(arguments)
    try:
        match chosen.command:
            case "build":
                for image in build(
                    chosen.target or tuple(TARGETS),
                    base_image=chosen.base,
                    out=chosen.out,
                    install=chosen.install,
                    refresh_base=chosen.refresh_base,
                    source=chosen.source,
                ).values():
                    print(f"{image.name}  {image.size / 1e6:.0f} MB  {image.archive}")
            case "list":
                _list()
            case "document":
                table.write(build())
            case _:
                _clean()
    except Trouble as e:
        print(f"tools.images: {e}", file=sys.stderr)
        return 1
    return 0


def _list() -> None:
    for target in TARGETS.values():
        archives = sorted((cache_folder() / "archives").glob(f"{target.name}-dev-*.tar"))
        print(f"{target.name:14} {target.repository:34} {len(archives)} built")


def _clean() -> None:
    cache = cache_folder()
    engine = engines.find(cache)
    # Other engines' storage is not ours to empty.
    if engine.kind == "buildah":
        for command in (["rm", "--all"], ["rmi", "--all", "--force"]):
            subprocess.run([*engine.command, *command], check=False, capture_output=True)
    for folder in ("archives", "bases"):
        for file in (cache / folder).glob("*"):
            file.unlink()


if __name__ == "__main__":
    sys.exit(main())
