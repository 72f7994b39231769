"""A value does not fit into float16 (or float8): it becomes infinite where float32 would have held it.

## What it means
float16 ends at 65504. A square, a sum or an exponential that is harmless in float32 becomes infinite there, and NaN
one operation later. The other end counts as well: an epsilon of 1e-8 is exactly zero in float16, and protects nothing.

## Why it happens
- squares, energies, distances and unnormalised sums of values in the hundreds;
- attention scores that are scaled after the product instead of before it; `exp` of more than 11;
- `eps=1e-8` next to a logarithm, a root or a division;
- a loss scale so large that gradients overflow on their way back.

## How it is measured
As for `non-finite-forward`: the first operation that gave NaN or infinity while all it read was finite, here in a
format whose range is narrower than that of float32, and by an operation that has no pole at that place. bfloat16 has
the range of float32. Backward: the first operation that made an infinite gradient of a finite one in such a format,
where its derivative is not infinite itself. There is no threshold.

## Example
    energy = h.half() * h.half()      # h is 300: 90000 is infinite in float16

## What to do
Compute that operation in float32 (`x.float()`, or leave it to autocast), scale before multiplying, or use bfloat16.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed, number
from gradclinic_engine.measurements import Culprit, GradientStatus
from gradclinic_engine.reading.non_finite_origin import backward_origin, forward_origin, spoiled
from gradclinic_engine.reading.precision import FORMATS, overflowed, overflowed_backward
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding: the first overflow forward, else the first on the way back."""
    measurements = paths.measurements
    names = spoiled(paths)
    if measurements.loss.error:
        return
    is_finite = math.isfinite(measurements.loss.value)
    site = forward_origin(paths)
    # Minus infinity may be a mask, as long as the loss is finite.
    meant = is_finite and site is not None and (site.culprit is None or not site.culprit.value > 0)
    if site and not meant and overflowed(paths, site):
        still = paths.parameters_before(site, GradientStatus.ZERO) if is_finite else ()
        severity = Severity.CRITICAL if names or still or not is_finite else Severity.WARNING
        yield _finding(site, site.culprit, names or still, "value", severity)
    elif is_finite and names:
        origin = backward_origin(paths)
        if origin and origin[0] and overflowed_backward(*origin):
            yield _finding(origin[0], origin[1], names, "gradient", Severity.CRITICAL)


def _finding(site: Site, culprit: Culprit | None, names: tuple[str, ...], what: str, severity: Severity) -> Finding:
    location = Location.of(site)
    largest = FORMATS[site.dtype].largest
    sample = f", first in sample {culprit.index[0]}" if culprit and culprit.index else ""
    return RULE.finding(
        severity,
        location,
        f"At {location} a {what} leaves the range of {site.dtype}, which ends at {number(largest)}{sample}. float32 "
        f"would hold it. From there NaN spreads to {listed(names) or 'the loss'}.",
        (
            "Compute this operation in float32: `x.float()` before it and `.to(x.dtype)` behind it, or use autocast.",
            "Scale before multiplying (`q / sqrt(d) @ k`), normalise, and use an epsilon of 1e-4 or more in float16.",
            "Use bfloat16, which has the range of float32; with float16, let GradScaler lower the loss scale.",
        ),
        evidence=(
            *((Evidence.of(culprit, f"first_non_finite_{what}"),) if culprit else ()),
            Evidence("largest_number_of_the_format", largest, text=site.dtype),
        ),
        affected=names,
        sites=(site.index,),
    )


RULE = Rule("overflow-low-precision", Symptom.NON_FINITE, __doc__, check)
