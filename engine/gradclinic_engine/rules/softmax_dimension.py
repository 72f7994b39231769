"""A softmax or a normalisation runs over the samples of the batch, or over another dimension than it should.

## What it means
Over the batch, probabilities of different samples compete with each other: what a sample is given depends on who else
is in the batch, and the classes of one sample do not sum to 1. Over the wrong dimension of attention scores, the
weights that are used for one sum do not sum to 1.

## Why it happens
- `dim=0` instead of `dim=1` or `-1`, or no `dim` at all (torch then takes 0 for tensors of three dimensions);
- code written for `[T, N, C]` used with `[N, T, C]`;
- attention scores `[N, queries, keys]` normalised over the queries.

## How it is measured
The batch dimension is followed from the inputs through views, transpositions and reductions; softmax, log_softmax or a
vector norm over it is reported when the batch has more than one sample. Pairwise scores `[N, N]` and graphs, whose
samples are meant to meet, are left out. Also: what a loss gets sums to 1 along another dimension than its classes, and
softmax weights multiplied with values are normalised over another dimension than the one that is summed over.

## Example
    weights = torch.softmax(scores, dim=0)      # scores: [batch, time]

## What to do
Say `dim=-1` (or `dim=1` for classes of images) explicitly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import OF_LOG_PROBABILITIES, OF_LOGITS, class_dimension
from gradclinic_engine.graph.op import Formula, Kind
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.reading.batch_dimension import batch_dimensions, batch_size
from gradclinic_engine.reading.loss_reading import output_of, relevant
from gradclinic_engine.reading.squashing import argument
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import LossTerm, Measurements, Site
    from gradclinic_engine.reading.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each softmax or norm over the wrong dimension."""
    measurements = paths.measurements
    told: set[int] = set()
    size = batch_size(measurements)
    for site in paths.sites.values():
        if op_of(site).kind is Kind.SOFTMAX and paths.reaches_loss(site) and site.requires_grad:
            over = normalised_dimension(site)
            is_batch = size > 1 and site.shape.count(size) == 1 and over == batch_dimensions(paths).get(site.index)
            if is_batch and not _is_graph(measurements, size):
                told.add(site.index)
                yield _finding(site, over, f"the {size} samples of the batch")
            elif over == len(site.shape) - 2 and len(site.shape) > 2 and _weighs(paths, site):  # noqa: PLR2004 - batch, queries, keys
                told.add(site.index)
                yield _finding(site, over, "another dimension than the one that its product sums over")
    for each in relevant(paths):
        output, over = _output_over(paths, each)
        if output is not None and output.index not in told:
            told.add(output.index)
            yield _finding(output, over, "another dimension than the classes")


def normalised_dimension(site: Site) -> int:
    """Over which dimension a softmax runs; without `dim` torch takes 0 for one or three dimensions, else 1."""
    rank, dim = len(site.shape), site.constants.get("dim")
    return dim % max(rank, 1) if isinstance(dim, int) else int(rank not in (0, 1, 3))


def _is_graph(measurements: Measurements, size: int) -> bool:
    """Whether there are lists of edges: integers that are not one (or several) per sample."""
    return any("int" in each.dtype and each.shape and each.shape[0] != size for each in measurements.inputs)


def _weighs(paths: Paths, site: Site) -> bool:
    """Whether it is the left factor of a product, directly or behind dropout."""
    for reader in paths.readers(site):
        op = op_of(reader)
        if op.is_batched and reader.arguments and site.index in reader.arguments[0]:
            return True
        if op.kind in {Kind.DROPOUT, Kind.CAST} and _weighs(paths, reader):
            return True
    return False


def _output_over(paths: Paths, called: LossTerm) -> tuple[Site | None, int]:
    """The softmax that gives a loss its prediction, if it runs over another dimension than the classes."""
    got, output = called.prediction, output_of(paths, called)
    dims = got.log_probability_dims if called.name in OF_LOG_PROBABILITIES else got.probability_dims
    if (
        called.name not in OF_LOG_PROBABILITIES | OF_LOGITS
        or output is None
        or math.prod(output.shape) != math.prod(got.shape)
    ):
        return None, -1
    classes = class_dimension(called.name, len(got.shape))
    is_free = called.name == "kl_div" or "binary" in called.name
    is_right = classes in (*got.log_probability_dims, *got.probability_dims) or got.shape[classes] == 1
    if is_right or (is_free and dims != (0,)):
        return None, -1
    if op_of(output).formula is Formula.LOGARITHM:
        output = argument(paths, output, 0) or output
    return (output, normalised_dimension(output)) if op_of(output).kind is Kind.SOFTMAX else (None, -1)


def _finding(site: Site, over: int, what: str) -> Finding:
    location = Location.of(site)
    return RULE.finding(
        severity=Severity.CRITICAL,
        location=location,
        explanation=f"{location} runs over dimension {over} of {list(site.shape)}: {what}. What should sum to 1 does "
        "not, and values that have nothing to do with each other compete.",
        remedies=("Give the dimension of the classes (or keys) explicitly, mostly `dim=-1`.",),
        evidence=(Evidence("dimension", over, "1", text=f"of {list(site.shape)}"),),
        sites=(site.index,),
    )


RULE = Rule("softmax-dimension", Symptom.LOSS, __doc__, check)
