"""A product with zero closes the path: an all-zero mask or gate, a coefficient of zero, dropout with p=1.

## What it means
Whatever is multiplied with zero adds nothing to the loss, and the gradient on the way back is multiplied with the same
zero. The parameters before it get a gradient, and all of it is exactly zero.

## Why it happens
- the weight of an auxiliary loss is 0 (or is warmed up from 0 and never moves);
- a gate or mask buffer is initialised to zeros and never written;
- dropout with p=1; `alpha=0` in `torch.add`; a mask computed by a comparison that is never true.

## How it is measured
At each operation at which a gradient arrives, and from which exactly zero goes on to an operand: whether the other
factor is all zero and no trainable weight explains it. Where values are joined (`stack`, `cat`) and multiplied
afterwards, as losses are with a vector of weights: whether that factor is zero for one of them. There is no threshold.
Severity: CRITICAL for numbers, buffers and dropout; WARNING for a mask that comes from the batch (another one may be
open); INFO where a module built the same way beside it learns (an expert or branch that got no sample). When all of a
loss within the model is multiplied away, that is `flat-loss`.

## Example
    loss = reconstruction + 0.0 * classification      # the classifier never learns

## What to do
Give it a coefficient that is not zero, open the gate or fill the mask, or freeze (or delete) what is behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Kind as OpKind
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.twins import with_learning_twin
from gradclinic_engine.reading.zero_causes import Cause, Why, zero_causes
from gradclinic_engine.reading.zero_origins import Kind
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements
    from gradclinic_engine.reading.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each such product."""
    measurements = paths.measurements
    learns = any(parameter.status is GradientStatus.FLOWING for parameter in measurements.parameters)
    if measurements.loss.kind == "model" and measurements.loss.value == 0 and not learns:
        return  # all of the loss is gone
    for cause in zero_causes(paths, Why.FACTOR):
        yield _finding(measurements, cause)


def _finding(measurements: Measurements, cause: Cause) -> Finding:
    location, names = Location.of(cause.site), listed(cause.parameters)
    dropped = op_of(cause.site).kind is OpKind.DROPOUT
    is_zero = "is zero in every element" if cause.zero_share == 1 else "is zero in the elements that it meets"
    what = f"`{cause.number}`" if cause.number else f"a factor that {is_zero}"
    if cause.origin is not None and cause.origin.name:
        what = f"`{cause.origin.name.partition(':')[2] or cause.origin.name}`, which {is_zero}"
    return RULE.finding(
        severity=_severity(measurements, cause),
        location=location,
        explanation=f"At {location} "
        + ("dropout with p=1 removes everything" if dropped else f"the path is multiplied with {what}")
        + f", so nothing of {names} reaches the loss and the gradient there is exactly zero.",
        remedies=(
            "Use a dropout probability below 1 (0.1 to 0.5 is usual)."
            if dropped
            else "Make the factor different from zero: open the gate, fill the mask, give the term a weight.",
            "If the branch should be off, leave it out or freeze its parameters.",
        ),
        evidence=(
            Evidence("factor_rms", 0.0, "1", 0.0, text=what)
            if cause.zero_share == 1
            else Evidence("factor_zero_share", cause.zero_share, "1", text=what),
            Evidence("parameters_with_zero_gradient", len(cause.parameters), "parameters", 0),
        ),
        affected=tuple(cause.parameters),
        sites=(cause.site.index,),
    )


def _severity(measurements: Measurements, cause: Cause) -> Severity:
    if cause.number or (cause.origin and cause.origin.kind is Kind.BUFFER) or _is_fixed(cause):
        return Severity.CRITICAL
    modules = dict.fromkeys(name.rpartition(".")[0] for name in cause.parameters)
    ancestors = {".".join(path.split(".")[:depth]) for path in modules for depth in range(1, len(path.split(".")) + 1)}
    return Severity.INFO if ancestors & with_learning_twin(measurements) else Severity.WARNING


def _is_fixed(cause: Cause) -> bool:
    """Whether the zeros stand in the program, whatever the batch is."""
    origin = cause.origin
    return origin is not None and (
        origin.kind is Kind.MADE or (origin.kind is Kind.PRODUCT and not origin.name.startswith("input:"))
    )


RULE = Rule("zero-multiplier", Symptom.ZERO_GRADIENT, __doc__, check)
