"""The last activation cannot give what the target asks for.

## What it means
A sigmoid gives 0..1, a ReLU nothing below zero, a tanh -1..1. Where targets lie outside, the loss pushes the output
against its bound until it saturates, and the gradient dies there.

## Why it happens
- an activation left over from classification in front of a regression loss;
- targets that were not scaled to the range of the activation (pixels 0..255 for a sigmoid);
- a ReLU or tanh before `binary_cross_entropy_with_logits` or `cross_entropy`, whose scores need both signs and room.

## How it is measured
The operation that gives the prediction (views looked through) has a bounded range, and more than 10 % of the targets
(by their deciles) lie outside of it by more than 5 % of their own spread. Before losses of scores: a ReLU that cannot
say no although some targets are 0, a tanh (or hardtanh) that cannot be sure.

## Example
    model = nn.Sequential(body, nn.Sigmoid())      # targets: prices, 20 to 80
    loss = F.mse_loss(model(x), prices)

## What to do
Remove the activation from a regression head, or scale the targets into its range.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import REGRESSION
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import number, share
from gradclinic_engine.reading.loss_reading import output_of, relevant
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import LossTerm, Site, Target
    from gradclinic_engine.reading.paths import Paths

OUTSIDE_SHARE = 0.1
MARGIN_OF_SPREAD = 0.05


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each output that cannot reach its targets."""
    for each in relevant(paths):
        output = output_of(paths, each)
        if output is None or each.error:
            continue
        low, high = output_range(output)
        target = each.targets[-1]
        if math.isinf(low) and math.isinf(high):
            continue
        if each.name in REGRESSION:
            outside = _outside(target, low, high)
            if outside > OUTSIDE_SHARE:
                lie = f"{share(outside)} of the targets, {number(target.min)} to {number(target.max)}, lie outside"
                yield _finding(output, low, high, lie, outside)
        elif _cannot_decide(each, target, low, high):
            lie = "and the loss needs scores of both signs and of any size"
            yield _finding(output, low, high, lie, 1.0)


def output_range(site: Site) -> tuple[float, float]:
    """Between which values the output of an operation lies, whatever its input."""
    op = op_of(site)
    if any(op.bounds):
        low, high = (site.constants.get(name) for name in op.bounds)
        return (
            float(low) if isinstance(low, (int, float)) else -math.inf,
            float(high) if isinstance(high, (int, float)) else math.inf,
        )
    return op.range


def _outside(target: Target, low: float, high: float) -> float:
    """Share of the targets beyond a range, by their deciles."""
    if len(target.deciles) < 2 or target.nonfinite:  # noqa: PLR2004 - both ends
        return 0.0
    room = MARGIN_OF_SPREAD * (target.max - target.min)
    beyond = sum(value < low - room or value > high + room for value in target.deciles)
    return beyond / len(target.deciles)


def _cannot_decide(called: LossTerm, target: Target, low: float, high: float) -> bool:
    if called.name == "binary_cross_entropy_with_logits":
        return (low >= 0 and target.min < 1 / 2) or (high <= 1 and low >= -1)
    return called.name == "cross_entropy" and (low, high) == (-1.0, 1.0)


def _finding(output: Site, low: float, high: float, lie: str, outside: float) -> Finding:
    location = Location.of(output)
    return RULE.finding(
        severity=Severity.WARNING,
        location=location,
        explanation=f"{location} gives values between {number(low)} and {number(high)}, {lie}. "
        "The output is pushed against its bound, where it has no gradient, and the loss stays high.",
        remedies=(
            "Remove this activation: a regression head ends with a linear layer.",
            "Or scale the targets into its range, and scale predictions back where they are read.",
        ),
        evidence=(Evidence("targets_out_of_reach", outside, "1", OUTSIDE_SHARE),),
        sites=(output.index,),
    )


RULE = Rule("output-activation-mismatch", Symptom.LOSS, __doc__, check)
