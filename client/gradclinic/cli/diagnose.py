"""`gradclinic diagnose`: files in, a report out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from gradclinic.cli.answer import answer, fail_on_option, html_option, json_option
from gradclinic.cli.connecting import connecting
from gradclinic.cli.progress import ProgressDisplay
from gradclinic.errors import DiagnosisFailed, NoResult, ResultNotReady
from gradclinic.submission import HIGHEST_PRIORITY, LOWEST_PRIORITY

if TYPE_CHECKING:
    from pathlib import Path

    from gradclinic.cli.connecting import Service
    from gradclinic.client import Handle
    from gradclinic.records import Diagnosis
    from gradclinic.submission import RequestOptions


def _pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE options; a value is read as JSON where it is JSON."""
    pairs = {}
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"expected KEY=VALUE, got {value!r}", context, parameter)
        try:
            pairs[key] = json.loads(text)
        except ValueError:
            pairs[key] = text
    return pairs


def as_labels(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE labels; values stay text."""
    return {key: value.partition("=")[2] for key, value in zip(_pairs(context, parameter, values), values, strict=True)}


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--inputs", required=True, metavar="FILE", help="Inputs: .safetensors (positional: '0', '1'...), .npy, .npz."
)
@click.option(
    "--target", metavar="FILE", help="Target: .safetensors ('target', or the loss's argument names), .npy, .npz."
)
@click.option(
    "--loss", metavar="NAME|FILE", help="torch.nn.functional name, 'model', or a TorchScript file; default: none."
)
@click.option(
    "--loss-option", "loss_options", multiple=True, callback=_pairs, metavar="KEY=VALUE", help="Option of the loss."
)
@click.option("--optimizer", metavar="NAME", help="torch.optim name.")
@click.option(
    "--optimizer-option",
    "optimizer_options",
    multiple=True,
    callback=_pairs,
    metavar="KEY=VALUE",
    help="For example lr=1e-3.",
)
@click.option("--output", metavar="NAME|INDEX", help="Which output the loss gets.")
@click.option("--run", metavar="NAME", help="Training run this belongs to.")
@click.option("--step", type=int, help="Training step within the run.")
@click.option("--label", "labels", multiple=True, callback=as_labels, metavar="KEY=VALUE", help="Label for filtering.")
@click.option(
    "--depth", type=click.Choice(["quick", "standard", "thorough"]), help="How deep to look. [default: standard]"
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Where to run. [default: whatever is free]")
@click.option("--wait-for-device", is_flag=True, help="Queue it though no live worker has the --device yet.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of every random number generator."
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Longest the run may take."
)
@click.option(
    "--priority",
    type=click.IntRange(LOWEST_PRIORITY, HIGHEST_PRIORITY),
    default=0,
    show_default=True,
    help="Among your own waiting diagnoses the highest start first.",
)
@click.option(
    "--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Longest to wait for the result; 0: do not wait."
)
@click.option("--no-reuse", is_flag=True, help="Do not answer from an identical earlier diagnosis.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@json_option
@html_option
@fail_on_option
@connecting
def diagnose(  # noqa: PLR0913 - one per option
    *,
    model: str,
    inputs: str,
    wait: float | None,
    optimizer: str | None,
    optimizer_options: dict[str, Any],
    no_reuse: bool,
    quiet: bool,
    as_json: bool,
    fail_on: str | None,
    page: Path | None,
    service: Service,
    **options: Any,
) -> int:
    """Diagnose the TorchScript file MODEL with one batch of inputs."""
    if optimizer_options and not optimizer:
        raise click.UsageError("--optimizer-option needs --optimizer")
    asked: RequestOptions = {**options, "reuse": not no_reuse}  # type: ignore[typeddict-item]  # click's names are its keys
    if optimizer:
        asked["optimizer"] = {"name": optimizer, **optimizer_options}
    with (
        ProgressDisplay(quiet=quiet) as display,
        service.connect(display.uploading) as client,
    ):
        handle = client.submit(model, inputs, **asked)
        display.accepted(handle.id)
        diagnosis = handle.diagnosis if wait == 0 else _followed(handle, display, wait)
    return answer(diagnosis, as_json=as_json, fail_on=fail_on, page=page)


def _followed(handle: Handle, display: ProgressDisplay, wait: float | None) -> Diagnosis:
    """The finished diagnosis, also a failed one."""
    try:
        for event in handle.watch(wait):
            display.changed(event)
        return handle.result(wait)
    except ResultNotReady:
        raise
    except (DiagnosisFailed, NoResult) as error:
        return error.diagnosis
    except KeyboardInterrupt:
        click.echo(
            f"\nThe diagnosis goes on; `gradclinic watch {handle.id}` or `gradclinic cancel {handle.id}`.", err=True
        )
        raise
