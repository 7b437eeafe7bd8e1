"""Which deployment of which cluster a command is about: options that all of them share, spelled as kubectl's own."""

import functools
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

# Commands whose arguments are something else than a deployment's name.
_BY_OPTION = ("logs", "send", "dead-letters")


@dataclass(frozen=True, slots=True)
class Target:
    """What was typed; None: what the kubeconfig says, and for the name: the only one there is."""

    name: str | None = None
    namespace: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None

    def typed(self, command: str) -> str:
        """Another command about the same deployment, as it can be typed."""
        option = "-d " if command.split()[0] in _BY_OPTION else ""
        return f"kubectl herald {command}" + (f" {option}{self.name}" if self.name else "") + self._more()

    def _more(self) -> str:
        given = {
            "-n": self.namespace,
            "--context": self.context,
            "--kubeconfig": str(self.kubeconfig) if self.kubeconfig is not None else None,
        }
        return "".join(f" {option} {shlex.quote(value)}" for option, value in given.items() if value is not None)


_OPTIONS = (
    click.option("-n", "--namespace", metavar="NAMESPACE", help="Default: that of the kubeconfig's context."),
    click.option("--context", metavar="NAME", help="Of the kubeconfig; default: its current one."),
    click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Default: $KUBECONFIG, else ~/.kube/config; in a pod its service account.",
    ),
)


def target(function: F) -> F:
    """Adds `target`, whose name is the argument NAME."""
    return click.argument("name", required=False)(_with_target(function))


def target_by_option(function: F) -> F:
    """The same for commands whose arguments are something else."""
    option = click.option("-d", "--deployment", "name", metavar="NAME", help="Default: the only one there is.")
    return option(_with_target(function))


def _with_target(function: F) -> F:
    @functools.wraps(function)
    def inner(
        *args: Any,
        name: str | None,
        namespace: str | None,
        context: str | None,
        kubeconfig: Path | None,
        **values: Any,
    ) -> Any:
        return function(*args, target=Target(name, namespace, context, kubeconfig), **values)

    wrapped: Any = inner
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    found: F = wrapped
    return found
