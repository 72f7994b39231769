"""The loss does not change when the prediction does: nothing can be learnt from this batch.

## What it means
Every gradient is exactly zero (or the loss is NaN, as the mean of nothing), not because the model is right, but because
the loss does not look at it.

## Why it happens
- every target of the batch is `ignore_index`, or a mask that selects what counts is all zero;
- a margin (hinge, triplet, ranking) that every sample keeps by far, or with its sign turned round;
- the loss is clamped, multiplied by a weight of zero, or its class weights are all zero.

## How it is measured
Exactly: no target is left after `ignore_index`; all weights are zero; the loss of a margin is zero and so is every
element of the gradient at the prediction; or, for a loss within the model, the gradient of all parameters ends at
operations behind which losses are only masked, scaled and added up. A square or a likelihood at its minimum is
`converged`. CRITICAL, but WARNING for a margin: a later batch may have samples inside of it.

## Example
    loss = F.cross_entropy(logits, labels, ignore_index=0)      # and all labels are 0

## What to do
Look at how many targets count in a batch; see that masks and weights are what you mean, that margins are on the
scale of the scores, and that labels have the sign that the margin asks for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import WITH_MARGIN
from gradclinic_engine.graph.site_ops import rectifies
from gradclinic_engine.judging.loss_places import place
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.loss_reading import output_of, relevant
from gradclinic_engine.reading.loss_tail import empty_mean, indices, stops
from gradclinic_engine.reading.paths import Paths, is_all_zero
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import LossTerm, Site


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding: the loss, or the part of it, that is flat."""
    measurements = paths.measurements
    for each in relevant(paths):
        if why := _why_flat(paths, each):
            yield _finding(paths, place(measurements, each), why, (), is_margin=each.name in WITH_MARGIN)
            return
    found = stops(paths)
    site = found[0] if found else empty_mean(paths)
    if site is not None:
        location = Location(module=site.module, name="loss", op=site.op, source=site.source)
        is_margin = bool(found) and rectifies(site) and measurements.loss.value == 0
        why = f"`{site.op}` lets nothing through" if found else f"`{site.op}` averages over nothing"
        yield _finding(paths, location, why, found or (site,), is_margin=is_margin)


def _why_flat(paths: Paths, called: LossTerm) -> str:
    target, count = called.targets[-1], math.prod(called.targets[-1].shape)
    if called.error or not count:
        return ""
    if target.ignored == count:
        return f"all {count} targets are ignored (`ignore_index={called.options.get('ignore_index', -100)}`)"
    if called.weight_is_zero:
        return "its weights are all zero"
    output = output_of(paths, called)
    is_still = output is not None and is_all_zero(output) and paths.measurements.loss.value == 0
    if called.name in WITH_MARGIN and called.site < 0 and is_still:
        return f"every sample is beyond the margin of `{called.name}`"
    return ""


def _finding(paths: Paths, location: Location, why: str, sites: tuple[Site, ...], *, is_margin: bool) -> Finding:
    stuck = tuple(p.name for p in paths.measurements.parameters if p.status is not GradientStatus.FROZEN)
    return RULE.finding(
        severity=Severity.WARNING if is_margin else Severity.CRITICAL,
        location=location,
        explanation=f"The loss does not depend on the prediction: {why}. No parameter can learn from this batch.",
        remedies=(
            "Count what is left of the batch after masks and `ignore_index`, and skip batches in which nothing is.",
            "Check the loss's weights, clamps and margins against the scale and the sign of the prediction.",
        ),
        evidence=(Evidence("loss", paths.measurements.loss.value, text=why),),
        affected=stuck,
        sites=indices(sites),
    )


RULE = Rule("flat-loss", Symptom.ZERO_GRADIENT, __doc__, check)
