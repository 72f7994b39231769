"""A BatchNorm in eval mode uses running statistics that do not fit the data.

## What it means
In eval mode BatchNorm standardises with the mean and variance that it remembers, not with those of the batch. Where
these are wrong its output is far too large, far too small or far off centre, and what follows saturates or dies.

## Why it happens
- `model.eval()` was left on, or only the BatchNorm layers were frozen, before they had seen the new data;
- the checkpoint was trained on inputs of another scale (0..1 instead of 0..255), or its buffers were not loaded;
- momentum 0 or 1, or a few steps on broken batches, spoiled the running statistics.

## How it is measured
In each channel of its output, weight and bias taken off: the deviation, which is 1 for statistics that fit, and the
mean, which is 0; medians over the channels. WARNING when the deviation is off by a factor of 10 or the mean by 10,
CRITICAL from 100 on. Fine-tuning with frozen BatchNorm on related data stays within 3. A trace made in eval mode whose
statistics are still those of a new module is `inference-trace`.

## Example
    model.load_state_dict(weights, strict=False)     # running_mean, running_var were missing
    model.bn.eval()

## What to do
`model.train()`, or let the statistics settle first: a pass over the data in training mode without updates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import number
from gradclinic_engine.reading.modes import traced_in_eval_mode
from gradclinic_engine.reading.normalization import (
    are_fresh,
    batch_norms,
    is_training,
    misfit,
    running_statistics,
)
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import NormFit, Site
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

MISFIT_FACTOR = 10.0
HOPELESS_FACTOR = 100.0


def check(paths: Paths) -> Iterator[Finding]:
    """One finding, at the first such normalisation: what comes after it is seen through it."""
    measurements = paths.measurements
    baked = traced_in_eval_mode(measurements)
    for site in batch_norms(measurements):
        known = None if is_training(site) else running_statistics(paths, site)
        if known is None or not paths.reaches_loss(site) or (baked and are_fresh(known)):
            continue
        factor = misfit(site)
        if factor >= MISFIT_FACTOR and site.norm_fit:
            yield _finding(paths, site, site.norm_fit, factor)
            return


def _finding(paths: Paths, site: Site, fit: NormFit, factor: float) -> Finding:
    location = Location.of(site)
    before = tuple(
        parameter.name
        for parameter in paths.measurements.parameters
        if parameter.requires_grad and parameter.name in site.reached_by and parameter.name not in site.parameters
    )
    return RULE.finding(
        Severity.CRITICAL if factor >= HOPELESS_FACTOR else Severity.WARNING,
        location,
        f"{location} runs in eval mode, and its running statistics do not fit this data: what it standardised has a "
        f"deviation of {number(fit.spread)} (not 1) and is {number(fit.offset)} (not 0) off centre. It will not adapt.",
        (
            f"Put it into training mode (`model.train()`, or `model.{site.module}.train()`).",
            "If it is to stay frozen, let its statistics settle first: a pass over the data in training mode.",
            "Check that the checkpoint's buffers were loaded, and that inputs are scaled as in the first training.",
        ),
        evidence=(
            Evidence("standardised_deviation", fit.spread, "1", MISFIT_FACTOR if fit.spread > 1 else 1 / MISFIT_FACTOR),
            Evidence("standardised_offset", fit.offset, "1", MISFIT_FACTOR),
        ),
        affected=before,
        sites=(site.index,),
    )


RULE = Rule("frozen-normalization", Symptom.MODE, __doc__, check)
