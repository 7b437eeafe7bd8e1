"""Where errors become what a person reads: one text, the next command to type, and an exit code scripts can use.

Exit codes are those of sysexits.h where one fits: 70 a bug, 75 try again later, 78 the configuration cannot work.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from herald_cli.keeper import StartFailed
from herald_cli.state import AlreadyRunning, NotRunning
from herald_cli.style import of
from herald_contracts.errors import ConfigurationError, HeraldError, TemporaryError

EXIT_FAILED = 1
EXIT_INTERNAL = 70
EXIT_TEMPORARY = 75
EXIT_CONFIGURATION = 78
DEBUG = "HERALD_DEBUG"
_INTERRUPTED = 130


def explain(error: HeraldError) -> tuple[str, int]:
    """What to print and the exit code. Pure."""
    text, code = str(error) or type(error).__name__, EXIT_FAILED
    if isinstance(error, ConfigurationError):
        code = EXIT_CONFIGURATION
    elif isinstance(error, TemporaryError):
        code = EXIT_TEMPORARY
    hints = {
        AlreadyRunning: "see it with `herald status`, stop it with `herald down`",
        NotRunning: "start it with `herald up -f FILE`, or name its folder with --state",
        StartFailed: "read more with `herald logs`, and check the machine with `herald doctor`",
    }
    hint = next((h for kind, h in hints.items() if isinstance(error, kind)), "")
    return f"{text}\n  {hint}" if hint else text, code


class Rim(click.Group):
    """A group whose subcommands may raise any HeraldError."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HeraldError as e:
            text, code = explain(e)
            click.echo(f"{of(sys.stderr)('herald:', 'red', 'bold')} {text}", err=True)
            ctx.exit(code)
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            # Somebody closed the pipe, as `head` does: nothing is wrong.
            sys.stderr.close()
            ctx.exit(0)
        except Exception as e:
            if os.environ.get(DEBUG):
                raise
            last = traceback.extract_tb(e.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            click.echo(f"herald: internal error: {type(e).__name__}: {e} ({where})", err=True)
            click.echo(f"  this is a bug: please report it with what `{DEBUG}=1 herald ...` prints", err=True)
            ctx.exit(EXIT_INTERNAL)
