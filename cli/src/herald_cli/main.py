"""The `herald` command: finds the subcommand, and turns every error into one readable text and an exit code."""

import importlib
import sys
from collections.abc import Mapping
from typing import ClassVar

import click

from herald_cli.rim import Rim

# In the order in which they are listed. A subcommand's module is imported only when it is used.
COMMANDS = {
    "up": "herald_cli.commands.up",
    "demo": "herald_cli.commands.demo",
    "status": "herald_cli.commands.status",
    "send": "herald_cli.commands.send",
    "ledger": "herald_cli.commands.ledger",
    "dead-letters": "herald_cli.commands.dead_letters",
    "logs": "herald_cli.commands.logs",
    "channels": "herald_cli.commands.channels",
    "doctor": "herald_cli.commands.doctor",
    "down": "herald_cli.commands.down",
    "version": "herald_cli.commands.version",
}


class Commands(Rim):
    """Subcommands by name, loaded late so that `herald status` does not wait for what only `herald up` needs."""

    modules: ClassVar[Mapping[str, str]] = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = self.modules.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """AI agents in a team's chat: no accepted message lost, none answered twice.

    Begin with `herald up -f examples/quickstart.yaml`, then open the address that it prints.
    """


def main() -> None:
    """Entry point of the `herald` command."""
    sys.exit(cli())


if __name__ == "__main__":
    main()
