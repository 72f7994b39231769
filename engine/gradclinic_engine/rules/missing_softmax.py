"""A loss that expects probabilities, or their logarithms, gets raw scores.

## What it means
`nll_loss` of raw scores has no minimum: the scores of the right classes grow forever and the others are never looked
at. `kl_div` of raw scores is just as unbounded, `binary_cross_entropy` raises outside of 0..1.

## Why it happens
- `nn.NLLLoss` used like `nn.CrossEntropyLoss`; a LogSoftmax that was removed from the model;
- probabilities given to `nll_loss` or `kl_div`, which expect their logarithms;
- no sigmoid before `binary_cross_entropy`.

## How it is measured
`nll_loss`, `kl_div`, `ctc_loss`: the exponentials of the prediction must sum to 1 along the classes; a deviation
beyond 0.02 in any sample counts, unless all of it is below zero and a logarithm made it. `binary_cross_entropy`: a
finite prediction outside of 0..1.

## Example
    loss = F.nll_loss(self.head(x), labels)      # head is a Linear: there is no log_softmax

## What to do
Use `cross_entropy` or `binary_cross_entropy_with_logits`, which take raw scores and are more exact, or apply
`log_softmax(dim=1)` (`sigmoid` for binary cross-entropy) first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import OF_LOG_PROBABILITIES
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.loss_places import place
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import number
from gradclinic_engine.reading.loss_reading import output_of, relevant
from gradclinic_engine.records import Evidence, Finding, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import LossTerm, Measurements
    from gradclinic_engine.reading.paths import Paths

# What they give may be logarithms of probabilities that need not sum to one.
ROUNDING = 1e-3


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each loss whose prediction is no (log-)probability."""
    measurements = paths.measurements
    for each in relevant(paths):
        got = each.prediction
        if got.nonfinite or not got.min <= got.max:
            continue
        if each.name == "binary_cross_entropy" and (got.min < -ROUNDING or got.max > 1 + ROUNDING):
            yield _finding(measurements, each, "probabilities between 0 and 1", "a sigmoid")
        elif each.name in OF_LOG_PROBABILITIES and not got.log_probability_dims:
            output = output_of(paths, each)
            is_logarithm = output is not None and op_of(output).gives_logarithm
            if not (is_logarithm and got.max <= ROUNDING) and max(got.shape, default=1) > 1:
                yield _finding(measurements, each, "logarithms of probabilities", "a log_softmax")


def _finding(measurements: Measurements, called: LossTerm, wanted: str, missing: str) -> Finding:
    got = called.prediction
    are = "raw scores"
    if got.probability_dims and called.name in OF_LOG_PROBABILITIES:
        are, missing = "probabilities", "the logarithm"
    better = "binary_cross_entropy_with_logits" if called.name == "binary_cross_entropy" else "cross_entropy"
    return RULE.finding(
        severity=Severity.CRITICAL,
        location=place(measurements, called),
        explanation=f"`{called.name}` expects {wanted}, but the prediction goes from {number(got.min)} to "
        f"{number(got.max)}: these are {are}, {missing} is missing. What is minimised is not a likelihood, "
        "and the model learns to push numbers up instead of to tell classes apart.",
        remedies=(
            f"Use `{better}`, which takes raw scores.",
            f"Or apply {missing} to the prediction before the loss.",
        ),
        evidence=(Evidence("largest_prediction", got.max), Evidence("smallest_prediction", got.min)),
        sites=tuple(site for site in got.given_by if isinstance(site, int)),
    )


RULE = Rule("missing-softmax", Symptom.LOSS, __doc__, check)
