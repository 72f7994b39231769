"""The units of a layer are identical and receive identical gradients, so that they can never differ.

## What it means
Units with the same weights compute the same; where what follows treats them alike too, they get the same gradient, and
stay equal for ever. A layer of 512 such units is a layer of one.

## Why it happens
- weights initialised to a constant (`nn.init.constant_`, `ones_`, `fill_`) in two layers in a row;
- a row, filter or head that was tiled to fill a larger layer.

## How it is measured
For a sample of 64 units: the share that has a twin with exactly equal weights and an equal gradient (to 0.01 %) that is
not zero. CRITICAL when every unit has one, WARNING from half of them on. Only layers with another weight between them
and the loss count: the loss itself tells output units apart. Units that nothing reaches (pruned rows, unused embedding
rows) do not count, nor do twins that dropout or random noise tells apart.

## Example
    for layer in net: nn.init.constant_(layer.weight, 0.1)

## What to do
Initialise with random numbers: `nn.init.kaiming_normal_`, `nn.init.xavier_uniform_`, or PyTorch's default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_worker.judging.finding import Evidence, Finding, Location, Severity, Symptom
from gradclinic_worker.judging.rule import Rule
from gradclinic_worker.judging.tiny_run import TinyRun, statistics
from gradclinic_worker.judging.wording import share
from gradclinic_worker.reading.op_kinds import plain
from gradclinic_worker.reading.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_worker.measurements import Measurements, Parameter, Site

MANY = 0.5
NEARLY_ALL = 0.99
BY_ROW = frozenset(
    f"aten::{name}"
    for name in ("linear", "conv1d", "conv2d", "conv3d", "_convolution", "convolution", "lstm", "gru", "bilinear")
)
BY_COLUMN = frozenset(f"aten::conv_transpose{each}d" for each in (1, 2, 3))
PRODUCTS = frozenset(f"aten::{name}" for name in ("matmul", "mm", "addmm", "bmm", "baddbmm"))
TABLES = frozenset({"aten::embedding", "aten::embedding_bag", "aten::index", "aten::index_select", "aten::gather"})


def check(measurements: Measurements) -> Iterator[Finding]:
    """One finding for each layer of copies."""
    paths = Paths(measurements)
    weights = {p.name for p in measurements.parameters if len(p.shape) > 1}
    for parameter in measurements.parameters:
        if max(parameter.twin_rows, parameter.twin_columns) < MANY:
            continue
        readers = [site for site in paths.first_readers(parameter) if paths.reaches_loss(site)]
        if not readers or any(plain(site.op) in TABLES for site in readers):
            continue
        copies = min(_copies(parameter, site) for site in readers)
        later = paths.downstream(*readers) - {site.index for site in readers}
        is_hidden = any(weights.intersection(paths.sites[index].parameters) - {parameter.name} for index in later)
        if copies >= MANY and is_hidden:
            yield _finding(parameter, readers[0], copies)


def _copies(parameter: Parameter, site: Site) -> float:
    """Share of copies among the units that one of its readers makes of it."""
    op = plain(site.op)
    is_turned = site.is_view and op in ("aten::t", "aten::transpose", "aten::numpy_T", "aten::mT", "aten::permute")
    if op in BY_ROW or is_turned:
        return parameter.twin_rows
    if op in BY_COLUMN:
        return parameter.twin_columns
    if op in PRODUCTS:
        is_right = f"parameter:{parameter.name}" in (site.arguments[-1] if site.arguments else ())
        is_right |= op in ("aten::addmm", "aten::baddbmm") and f"parameter:{parameter.name}" in site.arguments[2]
        return parameter.twin_columns if is_right else parameter.twin_rows
    return min(parameter.twin_rows, parameter.twin_columns)


def _finding(parameter: Parameter, site: Site, copies: float) -> Finding:
    everything = copies >= NEARLY_ALL
    return RULE.finding(
        severity=Severity.CRITICAL if everything else Severity.WARNING,
        location=Location(parameter=parameter.name, module=parameter.module, op=site.op, source=site.source),
        explanation=f"{share(copies)} of the units of {parameter.name} (shape {list(parameter.shape)}) have a twin "
        "with the same weights that gets the same gradient. They compute the same and are changed alike, for ever.",
        remedies=(
            f"Initialise it with random numbers: `nn.init.kaiming_normal_({parameter.name})`.",
            "If units were copied on purpose, add a little noise to the copies.",
        ),
        evidence=(Evidence("share_of_units_with_a_twin", copies, "1", MANY),),
        affected=(parameter.name,),
        sites=(site.index,),
    )


def _healthy() -> Iterator[Measurements]:
    run = TinyRun()  # a head of zeros: absent classes get equal gradients, and the loss tells classes apart
    run.parameter("head.weight", weight=statistics(0.0), twin_rows=0.9)
    body = run.op("aten::linear", "x", module="body", weights=["body.weight"])
    yield run.finish(run.op("aten::linear", body, module="head", weights=["head.weight"]))


def _sick() -> Iterator[Measurements]:
    for op, rows, columns in (("aten::linear", 1.0, 0.0), ("aten::matmul", 0.0, 1.0), ("aten::conv2d", 0.75, 0.0)):
        run = TinyRun()
        run.parameter("body.weight", twin_rows=rows, twin_columns=columns)
        body = run.op(op, "x", module="body", weights=["body.weight"])
        yield run.finish(run.op("aten::linear", run.op("aten::tanh", body), module="head", weights=["head.weight"]))


RULE = Rule("symmetric-weights", Symptom.ZERO_GRADIENT, __doc__, check, _healthy, _sick)
