"""More than half of the samples in the batch are copies of others.

## What it means
The batch says less than its size: the gradient is that of a few samples, statistics of BatchNorm are those of a few,
and with different targets for equal inputs nothing can be learnt at all.

## Why it happens
- a dataset or generator that returns the same item again (a captured loop variable, a cached batch, one random seed in
  every worker);
- sampling with replacement from few samples; a wrong `expand` or `repeat` where a batch was meant.

## How it is measured
Samples are compared in all inputs together that have one entry per sample: a copy is equal in every element (of an
evenly strided part, where samples are large). Reported from 4 samples on, when more than half are copies of an earlier
one. Not where equal samples are natural: few categories or grid values that cannot make more different ones.

## Example
    x = dataset[0][0].expand(32, -1)      # one sample, 32 times

## What to do
Print `torch.unique(x, dim=0).shape`; look at the dataset's `__getitem__`, the sampler and the workers' seeds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import share
from gradclinic_engine.reading.batch_dimension import batch_size
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Tensor
    from gradclinic_engine.reading.paths import Paths

COPIES_SHARE = 0.5  # the catalogue's
FEWEST_SAMPLES = 4
# So many times more combinations than samples must be possible for copies to be no chance.
ROOM = 4


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding, at the input that holds most of a sample."""
    measurements = paths.measurements
    seen, distinct = measurements.seen_samples, measurements.distinct_samples
    if seen < FEWEST_SAMPLES or not distinct:
        return
    copies = (seen - distinct) / seen
    size = batch_size(measurements)
    inputs = [each for each in measurements.inputs if each.variation is not None and each.shape[0] == size]
    if copies > COPIES_SHARE and inputs and not _natural(inputs, seen, distinct):
        largest = max(
            inputs, key=lambda each: ("float" in each.dtype, each.variation.features if each.variation else 0)
        )
        yield _finding(largest, seen, distinct, copies)


def _natural(inputs: list[Tensor], seen: int, distinct: int) -> bool:
    """Whether so few different samples are all that these inputs can be expected to make."""
    bits = sum(
        each.variation.features
        * (1 - each.variation.constant_share)
        * math.log2(max(1, each.variation.distinct_values))
        for each in inputs
        if each.variation is not None
    )
    if distinct == 1:
        return all("float" not in each.dtype and math.prod(each.shape[1:]) == 1 for each in inputs)
    return bits <= math.log2(ROOM * seen)


def _finding(tensor: Tensor, seen: int, distinct: int, copies: float) -> Finding:
    return RULE.finding(
        severity=Severity.WARNING,
        location=Location(name=f"input:{tensor.name}"),
        explanation=f"Of {seen} samples only {distinct} differ: {share(copies)} are exact copies of others. The batch "
        "teaches no more than those few would.",
        remedies=(
            "Check that the dataset returns a new item for each index, and that the sampler draws without replacement.",
            "Give each worker of the loader its own random seed.",
        ),
        evidence=(
            Evidence("copies_share", copies, "1", COPIES_SHARE),
            Evidence("different_samples", distinct, "samples"),
        ),
    )


RULE = Rule("duplicate-samples", Symptom.DATA, __doc__, check)
