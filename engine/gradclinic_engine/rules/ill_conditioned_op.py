"""One operation multiplies the gradient by an enormous factor, although everything stays finite.

## What it means
Near a pole (division or normalisation by nearly zero, the logarithm or root of nearly zero) the slope is enormous. One
sample then outweighs all others in the update, or the next one gives infinity. An epsilon of 1e-20 prevents the NaN,
but not the slope of 1e20.

## Why it happens
- normalising a vector that is nearly zero: an empty or padded sample, a dead unit, a constant feature;
- `log(x + 1e-20)`, `sqrt(x + 1e-30)`: epsilons far below what float32 can tell from zero next to one.

## How it is measured
The L2 norm of the gradient that an operation hands on, over that of the gradient that arrives. Usual operations have
gains between 0.01 and 100, a normalisation of small activations 1000. From 2^20 on, a relative rounding error of
float32 in its operand changes the gradient by a tenth. WARNING where a parameter's relative gradient is 2^10 times
that of the median, or the gain 2^40; CRITICAL from 2^17 on; INFO where what follows undoes it (a mask, a zero operand).

## Example
    h = h / (h.norm(dim=1, keepdim=True) + 1e-12)      # one row of h is 1e-9: its gradient is multiplied by 1e9

## What to do
An epsilon as large as what should count as zero (1e-6 for activations of about one), inside the root or logarithm;
leave empty samples out.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed, number
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.conditioning import STEEP_BITS, Steep, steep_ops
from gradclinic_engine.reading.depth_profile import relative_gradient
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

DOMINATING_FACTOR, HOPELESS_FACTOR = 2.0**10, 2.0**17
EXTREME_BITS = 40.0


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding: the first such op on the way back."""
    steep = steep_ops(paths)
    if steep:
        yield _finding(paths, steep[0])


def _finding(paths: Paths, steep: Steep) -> Finding:
    location, peak = Location.of(steep.site), steep.operand.gradient_peak
    dominating, names = _domination(paths, steep)
    severity = Severity.WARNING if dominating >= DOMINATING_FACTOR or steep.gain_bits >= EXTREME_BITS else Severity.INFO
    what = ""
    if peak and peak.operand_values:
        sample = f" of sample {peak.index[0]}" if peak.index else ""
        what = f" The value{sample} that did it is {number(peak.operand_values[0])}."
    follows = (
        f"{listed(names)} get a gradient that outweighs all others."
        if dominating >= DOMINATING_FACTOR
        else "What comes before it undoes that in this batch."
    )
    return RULE.finding(
        Severity.CRITICAL if dominating >= HOPELESS_FACTOR else severity,
        location,
        f"{location} multiplies the gradient by {number(2.0**steep.gain_bits)} on its way back.{what} {follows}",
        (
            "Use an epsilon that is as large as what should count as zero: 1e-6 for values of about one.",
            "Put it where the slope is: `(x + eps).log()`, `(x.square().sum() + eps).sqrt()`.",
            "Look at the named sample: leave out what is empty, padded or constant.",
        ),
        evidence=(
            Evidence("gradient_gain", 2.0**steep.gain_bits, threshold=2.0**STEEP_BITS),
            *((Evidence.of(peak, "largest_gradient"),) if peak else ()),
        ),
        affected=names,
        sites=(steep.site.index,),
    )


def _domination(paths: Paths, steep: Steep) -> tuple[float, tuple[str, ...]]:
    """By what the relative gradient of a parameter before it exceeds the usual one, and the parameters before it."""
    flowing = [p for p in paths.measurements.parameters if p.status is GradientStatus.FLOWING and relative_gradient(p)]
    before = [p for p in flowing if p.name in steep.operand.reached_by]
    others = [p for p in flowing if p.name not in steep.operand.reached_by]
    if not before or not others:
        return 0.0, tuple(p.name for p in before)
    usual = median(relative_gradient(p) for p in others)
    return max(relative_gradient(p) for p in before) / usual, tuple(p.name for p in before)


RULE = Rule("ill-conditioned-op", Symptom.EXPLODING, __doc__, check)
