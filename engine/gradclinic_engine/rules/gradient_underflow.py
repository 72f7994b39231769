"""Gradient values are too small for float16 (or float8) and become exactly zero.

## What it means
The smallest number of float16 above zero is 6e-8. Gradients below half of that are rounded to zero, and those near it
have one or two significant bits: the parameters before that place learn slowly, in one direction only, or not at all.

## Why it happens
- float16 without loss scaling; a loss that is a mean over very many elements, or is multiplied by a small weight;
- a GradScaler that lowered its scale again and again because other gradients overflowed.

## How it is measured
At each value of such a format, the gradient that arrives. It has underflowed if all of it is zero although what
arrives behind it is not, and is too small for the format; or if at least a fifth is zero and at least two fifths of
the rest are the smallest number there is (a distribution that reaches that far below loses a fifth or more). The first
such place on the way back is reported. CRITICAL when a parameter's gradient becomes all zero, else WARNING.

## Example
    loss = F.cross_entropy(model.half()(x).float(), y) * 1e-6

## What to do
Scale the loss (`torch.amp.GradScaler`), use bfloat16, or keep the parameters and the gradient in float32 (autocast).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula
from gradclinic_engine.graph.site_ops import is_constant, op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed, number, share
from gradclinic_engine.measurements import GradientStatus, MagnitudeHistogram
from gradclinic_engine.reading.paths import Paths, is_all_zero
from gradclinic_engine.reading.precision import FORMATS, NARROW
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site, Statistics
    from gradclinic_engine.records import Finding

ZERO_SHARE = 0.2
SMALLEST_SHARE = 0.4
# A layer may pass on less than it gets; what arrives within this factor of the smallest number may vanish in it.
NEAR_SMALLEST = 16.0


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding: the first place on the way back."""
    if not math.isfinite(paths.measurements.loss.value):
        return
    narrow = [site for site in paths.sites.values() if site.dtype in NARROW and site.gradient]
    for site in sorted(narrow, key=lambda site: site.gradient_order):
        behind = _behind(paths, site)
        lost = _lost_share(paths, site, behind)
        if lost and site.gradient:
            yield _finding(paths, site, behind, lost)
            return


def _lost_share(paths: Paths, site: Site, behind: Site | None) -> float:
    """Share of the gradient at ``site`` that was rounded to zero; 0 where that cannot be said."""
    smallest, gradient = FORMATS[site.dtype].smallest, site.gradient
    if gradient is None or gradient.nonfinite_count:
        return 0.0
    if is_all_zero(site):
        arriving = _largest(behind.gradient) if behind and behind.gradient else 0.0
        factor = _factor(paths, behind, site) if behind else None
        if factor is not None:
            return 1.0 if 0 < arriving * factor <= smallest / 2 else 0.0
        limit = NEAR_SMALLEST * smallest if behind and behind.dtype in NARROW else smallest / 2
        return 1.0 if 0 < arriving <= limit else 0.0
    sampled = gradient.histogram or MagnitudeHistogram(0, ())
    at_the_end = sampled.counts[0] if sampled.counts and sampled.lowest_exponent <= math.log2(smallest) else 0
    is_cut = sampled.counts and at_the_end / sum(sampled.counts) >= SMALLEST_SHARE
    return gradient.zero_share if is_cut and gradient.zero_share >= ZERO_SHARE else 0.0


def _factor(paths: Paths, behind: Site, site: Site) -> float | None:
    """By what ``behind`` multiplies the gradient for ``site``, where a constant says so."""
    formula = op_of(behind).formula
    if formula is Formula.MEAN and behind.gradient and site.gradient and site.gradient.element_count:
        return behind.gradient.element_count / site.gradient.element_count
    constants = [each.activation.max for each in paths.operands(behind) if is_constant(each) and each.activation]
    constants += [value for value in [behind.constants.get("other")] if isinstance(value, (int, float))]
    if len(constants) != 1 or not constants[0] or formula not in {Formula.MULTIPLY, Formula.DIVIDE}:
        return None
    return abs(constants[0]) if formula is Formula.MULTIPLY else 1 / abs(constants[0])


def _largest(gradient: Statistics) -> float:
    return max(-gradient.min, gradient.max)


def _behind(paths: Paths, site: Site) -> Site | None:
    """The op that reads ``site`` and gets the largest gradient, looking through views."""
    found: list[Site] = []
    waiting, seen = [site], {site.index}
    while waiting:
        for reader in paths.readers(waiting.pop()):
            if reader.index not in seen:
                seen.add(reader.index)
                (waiting if reader.gradient is None and reader.is_view else found).append(reader)
    return max((reader for reader in found if reader.gradient), key=lambda each: _size(each.gradient), default=None)


def _size(gradient: Statistics | None) -> float:
    return _largest(gradient) if gradient else 0.0


def _finding(paths: Paths, site: Site, behind: Site | None, lost: float) -> Finding:
    location = Location.of(behind or site)
    still = paths.parameters_before(site, GradientStatus.ZERO)
    learning = paths.parameters_before(site, GradientStatus.FLOWING)
    smallest = FORMATS[site.dtype].smallest
    return RULE.finding(
        Severity.CRITICAL if still else Severity.WARNING,
        location,
        f"{share(lost)} of the gradient that {location} hands on in {site.dtype} is exactly zero, and the rest is near "
        f"{number(smallest)}, the smallest number of that format. {listed(still or learning)} "
        f"{'get nothing' if still else 'get what is left'}.",
        (
            "Scale the loss: `torch.amp.GradScaler` multiplies it before the backward pass, and undoes it in the step.",
            "Use bfloat16, or keep parameters and gradients in float32 and let autocast choose.",
            "Do not multiply the loss by small factors; use the optimizer's learning rate for that.",
        ),
        evidence=(
            Evidence("underflowed_share", lost, "1", ZERO_SHARE),
            Evidence("smallest_number_of_the_format", smallest, text=site.dtype),
        ),
        affected=still or learning,
        sites=(site.index,),
    )


RULE = Rule("gradient-underflow", Symptom.VANISHING, __doc__, check)
