"""How a command ends with a diagnosis: what it prints, and its exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gradclinic.cli.exit_codes import FINDINGS, FINE, NO_ANSWER
from gradclinic.cli.report import report, show
from gradclinic.plain_text import safe

if TYPE_CHECKING:
    from gradclinic.records import Diagnosis

_RANKS: Final = {"INFO": 0, "WARNING": 1, "CRITICAL": 2}

json_option = click.option("--json", "as_json", is_flag=True, help="Print the whole diagnosis as JSON.")
fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(["warning", "critical"]),
    help="Exit with 1 when there is a finding at least this bad.",
)


def _writable(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuses a page that could not be written before anything is sent."""
    if value is not None and not os.access(value.parent, os.W_OK):
        raise click.BadParameter(f"{str(value.parent)!r} is no directory that can be written to", context, parameter)
    return value


html_option = click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_writable,
    metavar="FILE",
    help="Also write the diagnosis as one HTML page that needs no network.",
)


def answer(diagnosis: Diagnosis, *, as_json: bool, fail_on: str | None, page: Path | None = None) -> int:
    """Prints a diagnosis, writes its page where one is wanted, and gives the exit code that it stands for."""
    print_diagnosis(diagnosis, as_json=as_json)
    if page is not None:
        _write(page, diagnosis.to_html())
    if diagnosis.state in ("FAILED", "CANCELLED", "EXPIRED"):
        return NO_ANSWER
    worst = max((_RANKS[finding.severity] for finding in diagnosis.findings), default=-1)
    return FINDINGS if fail_on is not None and worst >= _RANKS[fail_on.upper()] else FINE


def _write(path: Path, content: str) -> None:
    try:
        path.write_bytes(content.encode())
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from error
    click.echo(f"page written to {safe(str(path))}", err=True)


def print_diagnosis(diagnosis: Diagnosis, *, as_json: bool = False) -> None:
    """Prints a diagnosis as a report, or as JSON."""
    if as_json:
        click.echo(json.dumps(diagnosis.to_dict(), indent=2, allow_nan=False))
    else:
        show(report(diagnosis))
