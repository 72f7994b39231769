"""How a command ends with a diagnosis: what it prints, and its exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click

from gradclinic.cli.exit_codes import FINDINGS, FINE, NO_ANSWER
from gradclinic.cli.report import report, show

if TYPE_CHECKING:
    from gradclinic.records import Diagnosis

_RANKS: Final = {"INFO": 0, "WARNING": 1, "CRITICAL": 2}

json_option = click.option("--json", "as_json", is_flag=True, help="Print the whole diagnosis as JSON.")
fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(["warning", "critical"]),
    help="Exit with 1 when there is a finding at least this bad.",
)


def answer(diagnosis: Diagnosis, *, as_json: bool, fail_on: str | None) -> int:
    """Prints a diagnosis and gives the exit code that it stands for."""
    print_diagnosis(diagnosis, as_json=as_json)
    if diagnosis.state in ("FAILED", "CANCELLED", "EXPIRED"):
        return NO_ANSWER
    worst = max((_RANKS[finding.severity] for finding in diagnosis.findings), default=-1)
    return FINDINGS if fail_on is not None and worst >= _RANKS[fail_on.upper()] else FINE


def print_diagnosis(diagnosis: Diagnosis, *, as_json: bool = False) -> None:
    """Prints a diagnosis as a report, or as JSON."""
    if as_json:
        click.echo(json.dumps(diagnosis.to_dict(), indent=2, allow_nan=False))
    else:
        show(report(diagnosis))
