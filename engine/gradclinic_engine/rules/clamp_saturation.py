"""A clamp, minimum or maximum cuts off all or most of its values, and with them the gradient.

## What it means
Outside of its bounds a clamp is constant: no gradient passes those elements, and what is out of range is never pulled
back into it.

## Why it happens
- bounds for another scale: `clamp(0, 1)` on logits, `clamp(-1, 1)` on features with a mean of 9;
- an output capped below (or above) everything that the model says at the start;
- `torch.minimum` and `torch.maximum` with the arguments in the wrong order.

## How it is measured
The share of elements outside the bounds, from the values, or where the bounds are tensors from the zeros that the
operation adds to the gradient. CRITICAL when exactly zero goes on to a parameter; WARNING from 75 % on (90 % with a
bound on one side only, as half of the values may well lie there) for parameters that have no other way to the loss.
Of two branches compared with each other, the one that is never chosen gets a WARNING when the other is far away
(3 standard deviations), else INFO. `clamp(min=0)` acts as a ReLU (`dead-relu`); `nn.Hardtanh` and `nn.ReLU6` are
`saturated-activation`. Not reported where the loss is at most 5 % of that of a constant guess.

## Example
    return torch.clamp(self.fc(x), -1.0, 1.0)     # fc(x) lies between 7 and 11

## What to do
Choose bounds that hold the values, start the layer inside of them, clamp only at inference, or use a smooth squashing.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula
from gradclinic_engine.graph.site_ops import limits, op_of, rectifies
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed, number, share
from gradclinic_engine.reading.convergence import has_converged
from gradclinic_engine.reading.zero_causes import Why, zero_causes
from gradclinic_engine.reading.zero_stops import gets_gradient
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

CUT_OFF_SHARE = 0.75
CUT_OFF_SHARE_OF_ONE_BOUND = 0.9
FAR_DEVIATIONS = 3.0


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each such operation."""
    closed = {cause.site.index: cause for cause in zero_causes(paths, Why.LIMIT)}
    for cause in closed.values():
        yield _finding(cause.site, paths, 1.0, _severity_of_closed(paths, cause.site), cause.parameters)
    if has_converged(paths.measurements):
        return
    for site in paths.sites.values():
        if site.index in closed or not limits(site) or rectifies(site) or not gets_gradient(site):
            continue
        cut = _cut_off(paths, site)
        bounds = [site.constants.get(name) for name in ("min", "max")]
        limit = CUT_OFF_SHARE if None not in bounds else CUT_OFF_SHARE_OF_ONE_BOUND
        if cut is not None and cut >= limit and (names := paths.parameters_only_through(site)):
            yield _finding(site, paths, cut, Severity.WARNING, names, limit)


def _cut_off(paths: Paths, site: Site) -> float | None:
    """Share of elements out of range; None where it was not measured."""
    if site.flat_share is not None:
        return site.flat_share
    operands = [operand for operand in paths.operands(site) if operand.requires_grad]
    before = operands[0].gradient if len(operands) == 1 and len(paths.readers(operands[0])) == 1 else None
    here = site.gradient
    if (
        before is None
        or here is None
        or before.element_count != here.element_count
        or here.zero_count == here.element_count
    ):
        return None
    return max(0, before.zero_count - here.zero_count) / (here.element_count - here.zero_count)


def _severity_of_closed(paths: Paths, site: Site) -> Severity:
    """Lower where the bound is a branch that learns too: another batch may choose the other one."""
    branches = [operand.activation for operand in paths.operands(site) if operand.requires_grad]
    if len(branches) < 2 or op_of(site).formula is Formula.CHOICE:  # noqa: PLR2004 - two branches
        return Severity.CRITICAL
    one, other = branches[:2]
    if one is None or other is None:
        return Severity.INFO
    gap = max(one.min - other.max, other.min - one.max)
    spread = max(sqrt(max(each.rms**2 - each.mean**2, 0.0)) for each in (one, other))
    return Severity.WARNING if gap > FAR_DEVIATIONS * spread else Severity.INFO


def _finding(  # noqa: PLR0913, PLR0917 - what the two ways to see it have in common
    site: Site, paths: Paths, cut: float, severity: Severity, names: Sequence[str], limit: float = CUT_OFF_SHARE
) -> Finding:
    location = Location.of(site)
    before = next((operand.activation for operand in paths.operands(site) if operand.activation), None)
    bounds = ", ".join(f"{name}={value}" for name, value in site.constants.items() if name in ("min", "max"))
    lie = f" Its inputs lie between {number(before.min)} and {number(before.max)}" if before else ""
    lie += f", the bounds are {bounds}." if lie and bounds else "." if lie else ""
    inputs = (Evidence("smallest_input", before.min), Evidence("largest_input", before.max)) if before else ()
    return RULE.finding(
        severity=severity,
        location=location,
        explanation=f"{share(cut)} of the values at {location} are out of range and cut off.{lie} No gradient passes "
        f"them on to {listed(names)}, so they are not pulled back.",
        remedies=(
            "Choose bounds that hold the values, or start the layer before it inside of them (bias zero).",
            "Clamp only at inference, or use a smooth function (`tanh`, `sigmoid`, `softplus`) instead.",
        ),
        evidence=(Evidence("cut_off_share", cut, "1", limit), *inputs),
        affected=tuple(names),
        sites=(site.index,),
    )


RULE = Rule("clamp-saturation", Symptom.ZERO_GRADIENT, __doc__, check)
