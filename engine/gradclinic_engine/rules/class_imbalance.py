"""One class makes up more than 95 % of the batch.

## What it means
Giving the frequent class always is right in more than 95 % of all cases, and that is what training finds first: the
loss looks good, and the rare class is never predicted.

## Why it happens
- rare events (fraud, defects, illness) sampled as they occur;
- a filter or a join that loses one class, a wrong threshold that makes the labels.

## How it is measured
The share of the commonest class among the targets that are not ignored: more than 95 %, but not all (then it is
`constant-target`), in a batch of at least 20 targets. INFO where each sample has many targets (segmentation, tags:
background is expected to be frequent), or where the loss is weighted (`weight`, `pos_weight`).

## Example
    labels.float().mean()      # 0.01: one sample in a hundred is positive

## What to do
Sample the rare class more often (`WeightedRandomSampler`), weight the loss (`pos_weight`, `weight`), and watch recall
instead of accuracy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import OF_CLASSES, OF_TWO_CLASSES
from gradclinic_engine.judging.loss_places import place_of_target
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import share
from gradclinic_engine.reading.labels import is_weighted
from gradclinic_engine.reading.loss_reading import comes_from_data, relevant
from gradclinic_engine.records import Evidence, Finding, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import LossTerm, Target
    from gradclinic_engine.reading.paths import Paths

COMMON_SHARE = 0.95  # the catalogue's
FEWEST_TARGETS = 20


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each target that is nearly all of one class."""
    for each in relevant(paths):
        target = each.targets[-1]
        total = sum(count for _, count in target.counts)
        if each.name not in OF_CLASSES | OF_TWO_CLASSES or each.error or total < FEWEST_TARGETS:
            continue
        value, most = target.counts[0]
        if COMMON_SHARE * total < most < total and comes_from_data(paths, target):
            yield _finding(paths, each, target, value, most / total)


def _finding(paths: Paths, called: LossTerm, target: Target, value: int, common: float) -> Finding:
    is_one_per_sample = not target.shape or all(size == 1 for size in target.shape[1:])
    weighted = is_weighted(paths, called)
    return RULE.finding(
        severity=Severity.WARNING if is_one_per_sample and not weighted else Severity.INFO,
        location=place_of_target(paths, called, target),
        explanation=f"{share(common)} of the targets are class {value}. A model that always says {value} is nearly "
        "always right, so the others are learnt late or never.",
        remedies=(
            "Draw the rare classes more often: `WeightedRandomSampler`.",
            "Weight the loss: `weight`, or `pos_weight` for binary targets.",
        ),
        evidence=(Evidence("commonest_class_share", common, "1", COMMON_SHARE), Evidence("commonest_class", value)),
    )


RULE = Rule("class-imbalance", Symptom.LOSS, __doc__, check)
