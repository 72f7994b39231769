"""The target's dtype or shape does not fit the loss, so that torch refuses it.

## What it means
The loss cannot be computed: training stops with an error in the first step.

## Why it happens
- class indices as floats or as int32 (they must be int64), or one-hot vectors where indices are needed;
- a dimension too many or too few: `[N, 1]` instead of `[N]`, masks `[N, 1, H, W]` instead of `[N, H, W]`;
- scores with the classes last (`[N, T, C]`), where `cross_entropy` wants them second (`[N, C, T]`);
- integer or boolean labels for a loss that compares numbers.

## How it is measured
The loss function raised, and what it says or the shapes and dtypes show that the target does not fit. There is no
threshold.

## Example
    loss = F.cross_entropy(logits, labels.float())      # indices must be int64

## What to do
`labels.long()`, `one_hot.argmax(1)`, `labels.squeeze(1)`, `logits.transpose(1, 2)`, `labels.float()`: whichever brings
the target to the shape and dtype that the finding asks for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import OF_CLASSES, class_dimension
from gradclinic_engine.judging.loss_places import place_of_target
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.reading.raised_errors import Raised, failed_term, recognise
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import LossTerm
    from gradclinic_engine.reading.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """One finding where the loss raised because of its target."""
    measurements = paths.measurements
    if recognise(measurements) is not Raised.TARGET_MISMATCH:
        return
    said = measurements.loss.error or measurements.loss.backward_error
    called = failed_term(measurements) or next(iter(measurements.terms), None)
    yield RULE.finding(
        severity=Severity.CRITICAL,
        location=place_of_target(paths, called, called.targets[-1]) if called else Location(name="target"),
        explanation=f"The loss refuses its target: {said.rstrip('.')}. {_asked(called) if called else ''}".strip(),
        remedies=(*_remedies(called), "Print shape and dtype of prediction and target right before the loss."),
        evidence=(Evidence("error", math.nan, text=said),),
    )


def _asked(called: LossTerm) -> str:
    got, target = called.prediction, called.targets[-1]
    wanted = (
        f"{list(_expected(called))} of int64 class indices"
        if called.name in OF_CLASSES
        else f"{list(got.shape)} of {got.dtype}"
    )
    return (
        f"For a prediction {list(got.shape)} `{called.name}` wants a target {wanted}, "
        f"and it got {list(target.shape)} of {target.dtype}."
    )


def _expected(called: LossTerm) -> tuple[int, ...]:
    shape = called.prediction.shape
    dimension = class_dimension(called.name, len(shape))
    return (*shape[:dimension], *shape[dimension + 1 :])


def _remedies(called: LossTerm | None) -> tuple[str, ...]:
    if called is None:
        return ()
    got, target = called.prediction.shape, called.targets[-1]
    if called.name not in OF_CLASSES:
        return (f"`target.to(prediction.dtype).reshape({list(got)})`, if its elements belong to those in that order.",)
    if target.shape == _expected(called):
        return ("Send the class indices as int64: `target.long()`.",)
    if target.shape == got:
        return ("Turn one-hot vectors into indices: `target.argmax(1)`, or send probabilities as floats.",)
    if len(got) > 2 and target.shape == got[:-1]:  # noqa: PLR2004 - more than samples and classes
        return ("The classes must be the second dimension: `logits.movedim(-1, 1)`.",)
    return (f"Bring the target to {list(_expected(called))}, for example with `target.squeeze(1)`.",)


RULE = Rule("target-mismatch", Symptom.LOSS, __doc__, check)
