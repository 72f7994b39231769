"""Every target of the batch is the same, so there is nothing to tell apart.

## What it means
The model learns to give one answer, whatever it sees: the gradient goes to the last bias, and the features before it
get next to nothing to learn.

## Why it happens
- the loader reads a file that is sorted by class and does not shuffle;
- the wrong column, a label that a join or a cast has turned into one value (0.3 cast to an integer is 0);
- a mask that leaves one class only.

## How it is measured
All targets of a batch of at least 4 samples are exactly equal, element for element; ignored classes are left out. Not
for losses whose targets may well be equal (ranking and similarity: all +1), not for targets that the model makes itself
(`ones_like` in a GAN), nor where what judges the output is frozen, as when a generator is trained.

## Example
    DataLoader(dataset, batch_size=32, shuffle=False)      # a dataset sorted by class

## What to do
Shuffle; look at `target.unique()`; see where the labels are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import OF_CLASSES, OF_DIFFERENCES
from gradclinic_engine.judging.loss_places import place_of_target
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import number
from gradclinic_engine.reading.labels import is_adversarial, samples_of
from gradclinic_engine.reading.loss_reading import comes_from_data, relevant
from gradclinic_engine.records import Evidence, Finding, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import LossTerm, Target
    from gradclinic_engine.reading.paths import Paths

FEWEST_SAMPLES = 4


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each target without any difference."""
    for each in relevant(paths):
        target = each.targets[0]
        if each.name not in OF_DIFFERENCES or each.error or not comes_from_data(paths, target):
            continue
        if _is_constant(each, target) and not is_adversarial(paths, each):
            yield _finding(paths, each, target)


def _is_constant(called: LossTerm, target: Target) -> bool:
    if samples_of(target) < FEWEST_SAMPLES or target.nonfinite or not target.min <= target.max:
        return False
    is_one_value = target.min == target.max
    if called.name in OF_CLASSES and len(target.shape) > 1 and target.shape[1:] != (1,):
        return is_one_value
    return is_one_value or target.samples_alike


def _finding(paths: Paths, called: LossTerm, target: Target) -> Finding:
    one = f"the value {number(target.min)}" if target.min == target.max else "the same values"
    return RULE.finding(
        severity=Severity.WARNING,
        location=place_of_target(paths, called, target),
        explanation=f"All {samples_of(target)} targets of the batch hold {one}. From it the model can only learn "
        "to give that one answer, whatever the input.",
        remedies=(
            "Shuffle the samples, so that a batch holds different targets.",
            "Check how the labels are made: a wrong column, a cast to integers, a sorted file.",
        ),
        evidence=(Evidence("different_targets", 1, "targets", 2), Evidence("target", target.min)),
    )


RULE = Rule("constant-target", Symptom.LOSS, __doc__, check)
