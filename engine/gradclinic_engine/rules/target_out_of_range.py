"""A class index, label or probability of the target lies outside of what the loss can take.

## What it means
The loss raises, or worse, it computes something else than you think: with targets outside 0..1 binary cross-entropy
has no lower bound, and with labels 0/1 instead of -1/+1 a margin loss ignores or misreads half of the samples.

## Why it happens
- classes counted from 1, or a label that the head has no output for (the head has too few outputs);
- padding marked by a value (-1, 255) that `ignore_index` does not name;
- labels -1/+1 for binary cross-entropy, or 0/1 for a margin loss; percentages or pixel values 0..255 as probabilities.

## How it is measured
The smallest and largest value of the target, ignored classes left out, against the range of the loss: 0..C-1 for C
class scores, 0..1 for probabilities, exactly -1 or +1 for `hinge_embedding_loss`, `soft_margin_loss`,
`cosine_embedding_loss` and `margin_ranking_loss`. There is no tolerance but 0.001 for rounding. The first value
outside is named with its sample.

## Example
    loss = F.cross_entropy(logits, labels)      # logits [32, 10], labels 1..10

## What to do
Number classes from 0, give the head as many outputs as there are classes, pass `ignore_index`, map labels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import OF_CLASSES, OF_SHARES, OF_SIGNS, class_dimension
from gradclinic_engine.judging.loss_places import place_of_target
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import number
from gradclinic_engine.reading.loss_reading import relevant
from gradclinic_engine.reading.raised_errors import Raised, failed_term, recognise
from gradclinic_engine.records import Evidence, Finding, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import LossTerm, Target
    from gradclinic_engine.reading.paths import Paths

ROUNDING = 1e-3


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each target with values outside of its loss's range."""
    measurements = paths.measurements
    if recognise(measurements) is Raised.TARGET_MISMATCH:
        return
    found = [finding for each in relevant(paths) for finding in _out_of_range(paths, each)]
    yield from found
    failed = failed_term(measurements)
    if not found and failed is not None and recognise(measurements) is Raised.TARGET_OUT_OF_RANGE:
        said = Evidence("error", math.nan, text=measurements.loss.error)
        yield _finding(paths, failed, failed.targets[0], f"`{failed.name}` raised: {measurements.loss.error}.", said)


def _out_of_range(paths: Paths, called: LossTerm) -> Iterator[Finding]:
    target = called.targets[-1]
    limits = _limits(called, target)
    if limits is None or math.isnan(target.min):
        return
    low, high, what = limits
    worst = target.lowest if target.min < low - ROUNDING else target.highest if target.max > high + ROUNDING else None
    if called.name in OF_SIGNS and worst is None and any(value not in (-1, 1) for value, _ in target.counts):
        worst = target.lowest if target.lowest and target.lowest.value != -1 else target.highest
    if worst is None:
        return
    limit = low if worst.value < low else high
    seen = Evidence("value", worst.value, "1", limit, sample=next(iter(worst.index), None), element=worst.index)
    text = f"`{called.name}` takes {what}, but the target goes from {number(target.min)} to {number(target.max)}."
    yield _finding(paths, called, target, text, seen)


def _limits(called: LossTerm, target: Target) -> tuple[float, float, str] | None:
    shape = called.prediction.shape
    if "float" not in target.dtype and called.name in (*OF_CLASSES, "ctc_loss") and shape:
        classes = shape[class_dimension(called.name, len(shape))]
        return 0, classes - 1, f"class indices 0 to {classes - 1}"
    if called.name in OF_SIGNS:
        return -1, 1, "the labels -1 and +1"
    if called.name in OF_SHARES and (called.name != "cross_entropy" or target.shape == shape):
        return 0, 1, "probabilities between 0 and 1"
    if called.name == "kl_div":
        in_logs = called.options.get("log_target")
        return (-math.inf, 0, "logarithms of probabilities") if in_logs else (0, 1, "probabilities between 0 and 1")
    if called.name == "poisson_nll_loss":
        return 0, math.inf, "counts, at least 0"
    return None


def _finding(paths: Paths, called: LossTerm, target: Target, text: str, seen: Evidence) -> Finding:
    where = f" First in sample {seen.sample}." if seen.sample is not None else ""
    return RULE.finding(
        severity=Severity.CRITICAL,
        location=place_of_target(paths, called, target),
        explanation=f"{text}{where} The loss then raises, or pulls the prediction where no answer can be.",
        remedies=(
            "Map the labels to what the loss takes (classes from 0; 0/1 for cross-entropies, -1/+1 for margins).",
            "Give the head as many outputs as there are classes.",
            "Name padding with `ignore_index`.",
        ),
        evidence=(seen,),
    )


RULE = Rule("target-out-of-range", Symptom.LOSS, __doc__, check)
