"""`gradclinic demo`: five models through the real client, each printed as `gradclinic diagnose` prints it."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import TYPE_CHECKING

import click
from rich import box
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from gradclinic.cli.connecting import Service
from gradclinic.cli.exit_codes import FINDINGS, FINE
from gradclinic.cli.progress import ProgressDisplay
from gradclinic.cli.report import report, show
from gradclinic.demo.private_up import private_up
from gradclinic.errors import NoResult

if TYPE_CHECKING:
    from gradclinic.demo.cases import Case
    from gradclinic.records import Diagnosis


@click.command()
@click.option(
    "--server", "--target", metavar="HOST:PORT", help="Use this service. [default: a private one, started for it]"
)
@click.option("--device", default="auto", show_default=True, help="Device of the private service's worker.")
def demo(*, server: str | None, device: str) -> int:
    """Diagnose two healthy and three broken models; exit with 1 if anything is not as expected."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"`gradclinic demo` needs {' and '.join(missing)}: pip install 'gradclinic[all,demo]'"
        )
    with contextlib.ExitStack() as stack:
        if server is None:
            click.echo("starting a private gradclinic…", err=True)
            server = stack.enter_context(private_up(device))
        from gradclinic.demo.cases import CASES  # noqa: PLC0415 - imports torch, which is slow
        from gradclinic.demo.healthy import quiet_transformers  # noqa: PLC0415 - imports torch, which is slow

        quiet_transformers()
        outcomes: list[tuple[Case, str | None]] = []
        for number, case in enumerate(CASES, start=1):
            show(Rule(Text(f"{number}/{len(CASES)}  {case.title}"), characters="=", align="left"))
            diagnosis = _diagnosed(case, server)
            show(report(diagnosis))
            show("")
            outcomes.append((case, case.problem(diagnosis)))
    show(_summary(outcomes))
    return FINE if all(problem is None for _, problem in outcomes) else FINDINGS


def _diagnosed(case: Case, server: str) -> Diagnosis:
    import torch  # noqa: PLC0415 - checked to be there

    from gradclinic.demo.cases import SEED  # noqa: PLC0415 - imports torch

    with (
        torch.random.fork_rng(),
        ProgressDisplay() as display,
        Service(server).connect(display.uploading) as client,
    ):
        torch.manual_seed(SEED)
        with display.busy("building the model and turning it into TorchScript"):
            example = case.build()
            handle = client.submit(
                example.model, example.inputs, target=example.target, loss="cross_entropy", run="demo", reuse=False
            )
        display.accepted(handle.id)
        try:
            for event in handle.watch():
                display.changed(event)
            return handle.result()
        except NoResult as error:
            return error.diagnosis


def _summary(outcomes: list[tuple[Case, str | None]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("model", overflow="fold")
    table.add_column("outcome", overflow="fold")
    for case, problem in outcomes:
        table.add_row("ok" if problem is None else "WRONG", case.title, problem or "as expected")
    return table
