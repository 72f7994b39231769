"""An input, or most of its features, is the same for every sample.

## What it means
What does not vary tells the model nothing about a sample: it acts like one more bias. If it was intended to carry
information, that information is missing.

## Why it happens
- a column that a join or an imputation filled with one value, a broken sensor, a wrong index;
- a tensor made once outside of the dataset and expanded over the batch; standardised with the wrong statistics.

## How it is measured
The samples of each floating input that layers read are compared feature by feature: reported when all of its features
are the same for all samples while other inputs vary, when at least 80 % are, or when all of it is one value. Features
that are always zero count only where the others are mostly not zero and samples are plain vectors: one-hot and
bag-of-words vectors, padding and black borders are meant to be zero. Masks, positions and integers are no features.

## Example
    x[:, 1:] = x[:1, 1:]      # every sample gets the features of the first

## What to do
Print `x.std(0)`, and see where the batch is put together. Remove the input if it should be constant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import number, share
from gradclinic_engine.reading.batch_dimension import batch_size
from gradclinic_engine.reading.input_reading import is_feature
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Tensor, Variation
    from gradclinic_engine.reading.paths import Paths

CONSTANT_SHARE = 0.8  # the catalogue's
FEWEST_SAMPLES = 4
FEWEST_FEATURES = 5
FEWEST_VALUES = 3
DENSE_SHARE = 0.5


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each input that (mostly) does not vary."""
    measurements = paths.measurements
    size = batch_size(measurements)
    varies = measurements.distinct_samples > 1
    for each in measurements.inputs:
        seen = each.variation
        if seen is None or seen.samples < FEWEST_SAMPLES or each.shape[0] != size or "float" not in each.dtype:
            continue
        if each.statistics.zero_count == each.statistics.element_count or not is_feature(paths, each.name):
            continue
        constant = 1.0 if seen.distinct_samples == 1 and varies else _constant_share(each, seen)
        if constant >= CONSTANT_SHARE and (seen.distinct_samples > 1 or varies):
            yield _finding(each, constant)


def _constant_share(tensor: Tensor, seen: Variation) -> float:
    if seen.features < FEWEST_FEATURES or seen.distinct_values < FEWEST_VALUES:
        return 0.0
    is_vector = len(tensor.shape) == 2  # noqa: PLR2004 - samples and features
    counts_zeros = is_vector and seen.varying_zero_share < DENSE_SHARE
    return seen.constant_share if counts_zeros else seen.constant_nonzero_share


def _finding(tensor: Tensor, constant: float) -> Finding:
    what = "is the same" if constant == 1 else f"is the same in {share(constant)} of its features"
    low, high = tensor.statistics.min, tensor.statistics.max
    value = f" (always {number(low)})" if low == high else ""
    return RULE.finding(
        severity=Severity.WARNING,
        location=Location(name=f"input:{tensor.name}"),
        explanation=f"input:{tensor.name} {what} for every sample of the batch{value}. What does not vary cannot tell "
        "samples apart: the model learns nothing from it.",
        remedies=(
            "Check where this input is put together: a wrong index, a broken column, an `expand` over the batch.",
            "If it should be constant, make it a parameter or a buffer of the model.",
        ),
        evidence=(Evidence("constant_features_share", constant, "1", CONSTANT_SHARE),),
    )


RULE = Rule("constant-input", Symptom.DATA, __doc__, check)
