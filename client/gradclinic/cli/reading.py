"""`gradclinic show`, `list`, `watch`, `cancel` and `delete`: what is already there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table
from rich.text import Text

from gradclinic import figures
from gradclinic.cli.answer import answer, fail_on_option, html_option, json_option
from gradclinic.cli.connecting import connecting
from gradclinic.cli.diagnose import as_labels
from gradclinic.cli.progress import ProgressDisplay
from gradclinic.cli.report import show as print_content
from gradclinic.plain_text import safe

if TYPE_CHECKING:
    from pathlib import Path

    from gradclinic.cli.connecting import Service
    from gradclinic.records import Diagnosis, Page

_STATES = ["queued", "running", "succeeded", "failed", "cancelled", "expired"]
_VERDICTS = ["healthy", "warning", "critical"]


@click.command()
@click.argument("id")
@json_option
@html_option
@fail_on_option
@connecting
def show(
    *,
    id: str,  # noqa: A002 - the contract's own word
    as_json: bool,
    fail_on: str | None,
    page: Path | None,
    service: Service,
) -> int:
    """Show the diagnosis ID, finished or not."""
    with service.connect() as client:
        diagnosis = client.get(id)
    return answer(diagnosis, as_json=as_json, fail_on=fail_on, page=page)


@click.command()
@click.argument("id")
@click.option("--wait", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Longest to wait.")
@json_option
@html_option
@fail_on_option
@connecting
def watch(  # noqa: PLR0913 - one per option
    *,
    id: str,  # noqa: A002
    wait: float | None,
    as_json: bool,
    fail_on: str | None,
    page: Path | None,
    service: Service,
) -> int:
    """Follow the diagnosis ID until it is finished, then show it."""
    with service.connect() as client, ProgressDisplay() as display:
        for event in client.watch(id, timeout=wait):
            display.changed(event)
        diagnosis = event.diagnosis or client.get(id)
    return answer(diagnosis, as_json=as_json, fail_on=fail_on, page=page)


@click.command()
@click.argument("id")
@json_option
@connecting
def cancel(*, id: str, as_json: bool, service: Service) -> None:  # noqa: A002
    """Cancel the diagnosis ID; a finished one is left as it is."""
    with service.connect() as client:
        diagnosis = client.cancel(id)
    if as_json:
        click.echo(json.dumps(diagnosis.to_dict(), indent=2, allow_nan=False))
    else:
        click.echo(f"{diagnosis.state}  diagnosis {safe(diagnosis.id)}")


@click.command()
@click.argument("id")
@connecting
def delete(*, id: str, service: Service) -> None:  # noqa: A002
    """Delete the finished diagnosis ID."""
    with service.connect() as client:
        client.delete(id)
    click.echo(f"deleted diagnosis {safe(id)}")


@click.command("list")
@click.option("--run", metavar="NAME", help="Only this training run.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=as_labels,
    metavar="KEY=VALUE",
    help="Only with this label; may be repeated.",
)
@click.option("--state", type=click.Choice(_STATES), help="Only in this state.")
@click.option("--verdict", type=click.Choice(_VERDICTS), help="Only with this verdict.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most this many.")
@click.option("--page-token", default="", metavar="TOKEN", help="Where to go on.")
@click.option("--json", "as_json", is_flag=True, help="Print the page as JSON.")
@connecting
def list_(  # noqa: PLR0913 - one per option
    *,
    run: str | None,
    labels: dict[str, str],
    state: str | None,
    verdict: str | None,
    limit: int,
    page_token: str,
    as_json: bool,
    service: Service,
) -> None:
    """List diagnoses, newest first."""
    with service.connect() as client:
        page = client.list(run=run, labels=labels, state=state, verdict=verdict, page_size=limit, page_token=page_token)
    if as_json:
        click.echo(json.dumps(page.to_dict(), indent=2, allow_nan=False))
        return
    print_content(_table(page) if page.diagnoses else "no diagnoses")
    if page.next_page_token:
        click.echo(f"more: --page-token {page.next_page_token}")


def _table(page: Page) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("run", overflow="fold")
    table.add_column("accepted", no_wrap=True)
    table.add_column("findings", overflow="fold")
    for diagnosis in page.diagnoses:
        state = diagnosis.failure.reason if diagnosis.failure else diagnosis.state
        age = figures.age(diagnosis.create_time)
        table.add_row(
            *(Text(safe(cell)) for cell in (diagnosis.id, state, diagnosis.verdict or "", _run(diagnosis), age)),
            Text(safe(", ".join(finding.code for finding in diagnosis.findings))),
        )
    return table


def _run(diagnosis: Diagnosis) -> str:
    step = "" if diagnosis.spec.step is None else f" @{diagnosis.spec.step}"
    return f"{diagnosis.spec.run or ''}{step}"
