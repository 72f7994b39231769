"""The loss has reached its minimum: gradients are small because there is nothing left to learn from this batch.

## What it means
Nothing is wrong. Zero or tiny gradients are what a model has that predicts its targets.

## Why it happens
- the batch is one that the model has learnt by heart;
- the target is a copy of what the model computes (a leak), which is worth a look.

## How it is measured
The loss is below 0.1 % of what the best constant prediction would get (the variance of the targets, the entropy of a
uniform guess), or every gradient is exactly zero and the difference of prediction and target is, too. INFO.

## Example
    loss      # 3e-9 for targets with a variance of 1

## What to do
Diagnose with a batch that the model has not seen, or at the beginning of training.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import REGRESSION
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.reading.convergence import loss_of_a_guess
from gradclinic_engine.reading.loss_reading import relevant
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import LossTerm, Target
    from gradclinic_engine.reading.paths import Paths

REACHED_SHARE = 1e-3


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding."""
    measurements = paths.measurements
    loss = measurements.loss
    guess = loss_of_a_guess(measurements)
    if guess is not None and guess > 0 and 0 <= loss.value <= REACHED_SHARE * guess:
        yield _finding(loss.value, guess)
        return
    terms = list(relevant(paths))
    if terms and all(_is_exact(each) for each in terms):
        yield _finding(loss.value, _spread(terms[0].targets[-1]))


def _is_exact(called: LossTerm) -> bool:
    """Whether predictions equal targets, as far as the targets' own spread goes."""
    spread = _spread(called.targets[-1])
    return (
        called.name in REGRESSION
        and called.residual_rms is not None
        and called.residual_rms**2 <= (REACHED_SHARE * spread)
    )


def _spread(target: Target) -> float:
    """About the variance of the targets."""
    if not target.deciles:
        return 0.0
    mean = sum(target.deciles) / len(target.deciles)
    return sum((value - mean) ** 2 for value in target.deciles) / len(target.deciles)


def _finding(value: float, guess: float) -> Finding:
    return RULE.finding(
        severity=Severity.INFO,
        location=Location(name="loss"),
        explanation="The loss is next to nothing compared with what a constant prediction would get: the model already "
        "predicts these targets, and small gradients are as they should be.",
        remedies=("Diagnose with a batch that the model has not seen.",),
        evidence=(Evidence("loss", value, "1", REACHED_SHARE * guess if math.isfinite(guess) else None),),
    )


RULE = Rule("converged", Symptom.ZERO_GRADIENT, __doc__, check)
