"""The command line: one command, `gradclinic`, with subcommands of this room and of others."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import click

from gradclinic.cli.commands import Commands
from gradclinic.cli.exit_codes import FINE, INTERRUPTED, NO_ANSWER, PIPE_CLOSED, USAGE
from gradclinic.errors import BadCall, GradclinicError, InvalidRequest, NotFound
from gradclinic.plain_text import safe

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gradclinic")
def gradclinic() -> None:
    """Find out why a neural network does not learn.

    `gradclinic up` starts everything on this machine; `gradclinic demo` shows it;
    `gradclinic diagnose MODEL --inputs FILE` uses it.

    Exit codes: 0 fine, 1 findings at or above --fail-on, 2 usage, 3 failed diagnosis or service
    unreachable.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without our characters is no reason to fail
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; every expected error becomes one message on standard error and an exit code."""
    try:
        code = gradclinic.main(arguments, prog_name="gradclinic", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        error.show()
        return NO_ANSWER
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at exit
        return PIPE_CLOSED
    except GradclinicError as error:
        click.echo(f"Error: {safe(str(error), lines=True)}", err=True)
        return USAGE if isinstance(error, (BadCall, InvalidRequest, NotFound)) else NO_ANSWER
    return code if isinstance(code, int) else FINE
