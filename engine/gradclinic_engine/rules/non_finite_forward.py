"""The loss is NaN or infinite: this operation is the first that made such a value out of finite ones.

## What it means
Every value and every gradient that depends on it is NaN or infinite as well. One step with that ruins all weights.

## Why it happens
- `log(0)`, `0 / 0`, `sqrt` of a negative number, `exp` of more than 88 (float32), `acos` outside -1..1;
- softmax over a row that is masked as a whole: all of it is -inf;
- activations that grow from layer to layer until they overflow.

## How it is measured
Each operation's output is checked for NaN and infinity, in the order of execution. The finding stands at the first that
gave one while all it read was finite, names sample and element, and the operands there. Infinities that a mask writes
(`masked_fill(mask, -inf)`) are meant; what makes NaN of them is the origin. Nothing is reported while the loss
is finite, and there is no threshold.

## Example
    loss = -(p.log() * y).sum()      # p is exactly 0 for one class: log(0) = -inf, -inf * 0 = NaN

## What to do
Use the version that is safe: `log_softmax`, `logsumexp`, `binary_cross_entropy_with_logits`, or keep the operand away
from the bad point with `clamp(min=eps)`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import number
from gradclinic_engine.measurements import Culprit
from gradclinic_engine.reading.non_finite_origin import forward_origin, spoiled
from gradclinic_engine.reading.precision import overflowed
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

SAFE_VERSIONS = {
    Formula.LOGARITHM: "Keep the operand above zero: `x.clamp(min=1e-8).log()`, or use `log_softmax` or `logsigmoid`.",
    Formula.DIVIDE: "Keep the denominator away from zero: `a / (b + eps)`, or `torch.where` on both operand and "
    "result.",
    Formula.EXPONENTIAL: "Subtract the maximum first, or use `logsumexp`/`softmax`; bound the exponent: "
    "`x.clamp(max=80).exp()`.",
    Formula.SQUARE_ROOT: "Keep the operand at or above zero: `x.clamp(min=1e-12).sqrt()`.",
    Formula.SOFTMAX: "Let each row keep at least one position: fill with a large negative number instead of -inf.",
    Formula.POWER: "Keep the base positive: `x.clamp(min=1e-8).pow(p)`.",
}


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding: the first origin in execution order, or the loss itself."""
    measurements = paths.measurements
    if math.isfinite(measurements.loss.value) or measurements.loss.error:
        return
    site = forward_origin(paths)
    if site:
        if not overflowed(paths, site):  # that is `overflow-low-precision`
            yield _finding(paths, Location.of(site), site)
    elif all(seen.nonfinite_order < 0 for seen in paths.sites.values() if paths.reaches_loss(seen)):
        yield _finding(paths, Location(name="loss"), None)


def _finding(paths: Paths, location: Location, site: Site | None) -> Finding:
    culprit = site.culprit if site else Culprit((), paths.measurements.loss.value)
    made, at = "NaN or infinity", ""
    if culprit:
        made = "NaN" if math.isnan(culprit.value) else "infinity"
        at = f", first at index {list(culprit.index)}" if culprit.index else ""
        if culprit.operand_values:
            at += f", from {' and '.join(number(value) for value in culprit.operand_values)}"
    safe = SAFE_VERSIONS.get(op_of(site).formula) if site else None
    return RULE.finding(
        severity=Severity.CRITICAL,
        location=location,
        explanation=f"The operation at {location} makes {made} out of finite values{at}. From there it spreads to "
        "the loss and to every gradient."
        if site
        else f"The loss is {number(paths.measurements.loss.value)} although all that it is computed from is finite.",
        remedies=(
            *((safe,) if safe else ()),
            "Keep the operand away from the point where this happens: `clamp(min=eps)` before it.",
            "Look at the named sample, and bound or normalise what goes in.",
        ),
        evidence=(Evidence.of(culprit, "first_non_finite", text=made),) if culprit else (),
        affected=spoiled(paths),
        sites=(site.index,) if site else (),
    )


RULE = Rule("non-finite-forward", Symptom.NON_FINITE, __doc__, check)
