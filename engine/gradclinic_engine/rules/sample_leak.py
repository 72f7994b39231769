"""One sample's output depends on another sample's input.

## What it means
The samples of a batch are meant to be independent. Where they are mixed the model learns from neighbours that are
there by chance: training looks fine or noisy, and evaluation, with other batches, does not match it.

## Why it happens
- `view` or `reshape` where `transpose` or `permute` was meant: the numbers stay in order, the meaning does not;
- a recurrent layer or attention without `batch_first=True` that gets the batch first: it runs over the samples.

## How it is measured
The model runs twice more with the same seed, the second time with one sample replaced by another one; BatchNorm uses
its running statistics for that, so that no batch statistics take part. Another sample's output counts as changed from
1e-3 of the largest change on. The finding stands at the first operation in whose values the changed sample has no
place of its own. WARNING where that is a reshape, or a recurrence or attention over a batch of sequences, and target
and output have one entry per sample; INFO where it may be meant (sums, means and products over the batch, sets).
Not judged: outputs that compare all samples with each other, inputs with indices or adjacency, losses within the model.

## Example
    h = h.transpose(0, 1).reshape(batch, steps, width)     # the samples are mixed: no transpose belongs here

## What to do
Give each dimension a name on paper, and use `permute` to change their order; `reshape` only to join or split them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Kind
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

# Layers that look along a sequence, so that a batch in its place mixes the samples.
OVER_SEQUENCES = frozenset({Kind.ATTENTION, Kind.BLOCK, Kind.SOFTMAX})
OF_SEQUENCES = 3  # dimensions: samples, steps, features
CHANGE_SHARE = 1e-3


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding: the first place in execution order."""
    measurements = paths.measurements
    leak = measurements.leak
    if leak is None:
        return
    site = measurements.sites[leak.site]
    if leak.reshape is not None and not _is_over_sequences(op_of(site)):
        site = measurements.sites[leak.reshape]
    op = op_of(site)
    is_mistake = _arranges(op) or (_is_over_sequences(op) and leak.input_dimensions >= OF_SEQUENCES)
    location = Location.of(site)
    yield RULE.finding(
        Severity.WARNING if is_mistake and leak.is_sure else Severity.INFO,
        location,
        f"When sample {leak.changed} of the input was replaced, the outputs of {len(leak.affected)} other sample(s) "
        f"changed as well. They are mixed at {location}"
        + (", which puts numbers of several samples into one." if _arranges(op) else ", which runs over the batch."),
        (
            "Change the order of dimensions with `permute`; `reshape` and `view` only join and split neighbours.",
            "Recurrent layers and attention want `batch_first=True` when the batch comes first.",
            "If the samples are meant to meet (sets, contrastive learning), nothing is wrong here.",
        ),
        evidence=(
            Evidence("largest_change_of_others", leak.share, "1", CHANGE_SHARE, sample=leak.affected[0]),
            Evidence("samples_affected", len(leak.affected), "samples", 0),
        ),
        sites=(site.index,),
    )


def _arranges(op: Op) -> bool:
    return op.keeps_all or op.kind is Kind.PART


def _is_over_sequences(op: Op) -> bool:
    return op.kind in OVER_SEQUENCES or op.is_batched or (op.kind is Kind.RECURRENCE and not op.is_cell)


RULE = Rule("sample-leak", Symptom.MODE, __doc__, check)
