"""A normalisation over a dimension with one element gives a constant, whatever comes in.

## What it means
The softmax of one number is 1, a number minus its own mean is 0, divided by its own norm it is 1 or -1. The result does
not depend on the input, so no gradient (or nothing but rounding noise) comes back through it.

## Why it happens
- softmax for a binary output with a single unit, where a sigmoid is needed; softmax over the wrong dimension;
- `nn.LayerNorm(1)`, GroupNorm with as many groups as channels (or InstanceNorm) after pooling to 1 x 1;
- standardising by hand along a dimension that has one element; attention over a single key.

## How it is measured
From shapes and arguments: the number of elements that each softmax, layer, group, instance or RMS normalisation goes
over, and each subtraction of a mean (division by a sum or norm) of as many elements as there are. Reported where a
gradient arrives and a trainable parameter is before it, or where torch refuses to run it. CRITICAL where a parameter's
gradient is exactly zero (or missing) because of it, else WARNING. There is no threshold.

## Example
    return torch.softmax(self.head(x), dim=1)      # head has one output: always 1.0

## What to do
Use sigmoid for one output; normalise over a dimension that has more than one element, or leave the normalisation out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.normalization import unfinished_normalization_of_a_sample
from gradclinic_engine.reading.one_element import normalises_one_element
from gradclinic_engine.reading.raised_errors import Raised, recognise
from gradclinic_engine.reading.zero_causes import Why, zero_causes
from gradclinic_engine.reading.zero_stops import gets_gradient
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each such operation."""
    measurements = paths.measurements
    if recognise(measurements) is Raised.ONE_ELEMENT:
        refused = unfinished_normalization_of_a_sample(measurements)
        if refused is not None:
            yield _finding(paths, refused, "a single element, which torch refuses", refused.parameters)
        return
    starved = {cause.site.index: tuple(cause.parameters) for cause in zero_causes(paths, Why.ONE_ELEMENT)}
    for site in paths.sites.values():
        over = normalises_one_element(paths, site)
        if over and (
            site.index in starved
            or (site.requires_grad and paths.reaches_loss(site) and gets_gradient(site) and _depends(paths, site))
        ):
            yield _finding(paths, site, over, starved.get(site.index, ()))


def _depends(paths: Paths, site: Site) -> bool:
    """Whether what is normalised, not only scale and shift, comes from something trainable."""
    data = site.arguments[0] if site.arguments else ()
    return any(isinstance(atom, int) and atom in paths.sites and paths.sites[atom].requires_grad for atom in data)


def _finding(paths: Paths, site: Site, over: str, starved: tuple[str, ...]) -> Finding:
    location = Location.of(site)
    affected = starved or paths.feeding_parameters(site)
    stuck = (GradientStatus.ZERO, GradientStatus.MISSING)
    zero = [p for p in paths.measurements.parameters if p.name in starved and p.status in stuck]
    return RULE.finding(
        severity=Severity.CRITICAL if zero or not site.calls else Severity.WARNING,
        location=location,
        explanation=f"{location} normalises over {over}. The result is the same for every input, so "
        f"{listed(affected) or 'what is before it'} cannot learn through it.",
        remedies=(
            "For one output, use sigmoid with `binary_cross_entropy_with_logits` instead of softmax.",
            "Normalise over a dimension with more than one element, or take the normalisation out.",
        ),
        evidence=(Evidence("normalised_elements", 1, "elements", 2, text=over),),
        affected=tuple(affected),
        sites=(site.index,),
    )


RULE = Rule("degenerate-normalization", Symptom.ZERO_GRADIENT, __doc__, check)
