"""A parameter or buffer holds NaN or infinity.

## What it means
The archive was saved after training had already broken: every output that uses the parameter is NaN.

## Why it happens
- a step with a NaN gradient, or with so large a learning rate that the weights overflowed;
- BatchNorm's running statistics met a batch with NaN; a buffer was computed as 0 / 0.

## How it is measured
Every element of every parameter and buffer is looked at. There is no threshold. In buffers that a normalisation keeps
(running mean and variance) NaN and infinity count; in others NaN, when the loss or a gradient is not finite, and
infinities above zero then: masks of -inf are commonly kept as buffers. CRITICAL when the loss or a gradient is not
finite; else WARNING: running statistics are only used in eval mode, and everything is NaN then.

## Example
    optimizer.step()      # with gradients of NaN: now all weights are NaN

## What to do
Load the last good checkpoint, and diagnose that one with the batch that broke it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Norm
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.reading.non_finite_origin import is_broken, spoiled
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.reading.paths import Paths


KEEPING_STATISTICS = frozenset({Norm.BATCH, Norm.INSTANCE})


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for all of them together: whatever broke one broke the others."""
    measurements = paths.measurements
    broken = is_broken(paths)
    counts = {p.name: p.weight.nonfinite_count for p in measurements.parameters if p.weight.nonfinite_count}
    kept = {name for site in measurements.sites if op_of(site).norm in KEEPING_STATISTICS for name in site.buffers}
    for buffer in measurements.buffers:
        value = buffer.culprit.value if buffer.culprit else 0.0
        if not math.isfinite(value) and (buffer.name in kept or (broken and value != -math.inf)):
            counts[buffer.name] = buffer.statistics.nonfinite_count
    if not counts:
        return
    first = next(iter(counts))
    readers = (site.index for site in paths.sites.values() if counts.keys() & {*site.parameters, *site.buffers})
    yield RULE.finding(
        severity=Severity.CRITICAL if broken else Severity.WARNING,
        location=Location(parameter=first, module=first.rpartition(".")[0]),
        explanation=f"{listed(list(counts))} {'holds' if len(counts) == 1 else 'hold'} NaN or infinity "
        f"({sum(counts.values())} values). Training had broken before this archive was saved.",
        remedies=(
            "Load the last checkpoint that is finite, and diagnose that one with the batch that broke it.",
            "Clip gradients and skip steps whose gradient is not finite.",
        ),
        evidence=(Evidence("non_finite_values", sum(counts.values()), "elements", 0),),
        affected=tuple(dict.fromkeys([*counts, *spoiled(paths)])),
        sites=tuple(readers),
    )


RULE = Rule("non-finite-parameter", Symptom.NON_FINITE, __doc__, check)
