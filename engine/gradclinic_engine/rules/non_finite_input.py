"""An input or the target holds NaN or infinity, and it spoils the run.

## What it means
NaN spreads: one bad value in one sample makes the loss NaN, and with it the gradient of every parameter. After one
optimizer step all weights are NaN.

## Why it happens
- missing values in the data (empty CSV cells, masked pixels), a division by zero while standardising;
- `log` of a zero or overflow in float16 during preprocessing.

## How it is measured
Every element of every input and of the target is looked at. CRITICAL when the loss or a gradient of this run is not
finite; INFO when both are finite all the same (an attention mask of -inf, or NaN that forward replaces). There is no
threshold. The first bad sample and element are named.

## Example
    x = (x - x.mean(0)) / x.std(0)      # a constant column: 0 / 0 = NaN

## What to do
Clean the data before it is batched: drop or impute (`torch.nan_to_num`), and guard divisions with an epsilon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.reading.non_finite_origin import is_broken, spoiled
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Tensor
    from gradclinic_engine.reading.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each input with such values, and one for the target."""
    measurements = paths.measurements
    for tensor in measurements.inputs:
        if tensor.statistics.nonfinite_count:
            yield _finding(paths, tensor, f"input:{tensor.name}")
    for tensor in measurements.target:
        if tensor.statistics.nonfinite_count:
            yield _finding(paths, tensor, "target")


def _finding(paths: Paths, tensor: Tensor, name: str) -> Finding:
    broken, count = is_broken(paths), tensor.statistics.nonfinite_count
    where = f", the first in sample {tensor.culprit.index[0]}" if tensor.culprit and tensor.culprit.index else ""
    after = "They make the loss or the gradient NaN." if broken else "Loss and gradient are finite all the same."
    found = (Evidence.of(tensor.culprit, "first_non_finite"),) if tensor.culprit else ()
    readers = (site.index for site in paths.sites.values() if name.removeprefix("input:") in site.inputs)
    return RULE.finding(
        severity=Severity.CRITICAL if broken else Severity.INFO,
        location=Location(name=name),
        explanation=f"{count} of {tensor.statistics.element_count} values of {name} are NaN or infinite{where}. "
        f"{after}",
        remedies=(
            "Find and mend them where the batch is made: check `torch.isfinite(x).all()`, impute or drop.",
            "If they mark missing values, replace them and give the model a mask.",
        ),
        evidence=(Evidence("non_finite_values", count, "elements", 0), *found),
        affected=spoiled(paths),
        sites=tuple(readers) if name != "target" else (),
    )


RULE = Rule("non-finite-input", Symptom.NON_FINITE, __doc__, check)
