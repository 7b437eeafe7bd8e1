"""The `kubectl-herald` command, which kubectl calls for `kubectl herald`."""

import importlib.util
import sys
from collections.abc import Mapping
from typing import ClassVar

import click

from herald_cli.main import Commands
from herald_contracts.errors import ConfigurationError

COMMANDS = {
    "status": "herald_cli.kubectl.status",
    "rollout": "herald_cli.kubectl.rollout",
    "send": "herald_cli.kubectl.send",
    "ledger": "herald_cli.kubectl.ledger",
    "dead-letters": "herald_cli.kubectl.dead_letters",
    "logs": "herald_cli.kubectl.logs",
    "doctor": "herald_cli.kubectl.doctor",
}


class ClusterCommands(Commands):
    """In the order in which they are listed."""

    modules: ClassVar[Mapping[str, str]] = COMMANDS


@click.command(cls=ClusterCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """See and steer the AgentDeployments of a cluster, with the rights of your kubeconfig.

    A deployment's name may be left out where the namespace has just one.
    """
    if importlib.util.find_spec("kubernetes") is None:
        raise ConfigurationError("the Kubernetes client is not installed", hint="pip install 'herald-cli[cluster]'")


def main() -> None:
    """Entry point of the `kubectl-herald` command."""
    sys.exit(cli(prog_name="kubectl herald"))


if __name__ == "__main__":
    main()
