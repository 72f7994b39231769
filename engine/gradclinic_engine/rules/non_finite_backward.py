"""The loss is finite, but on the way back this operation makes NaN or infinity out of a finite gradient.

## What it means
The value is fine and its derivative is not: the parameters before the operation get NaN. The first optimizer step ruins
them, and the loss is NaN from the second step on.

## Why it happens
- `sqrt(0)`, `x.pow(0.5)`, a hand-written norm of an all-zero row, `std` of constant values: the slope is infinite;
- `acos` or `asin` at 1, `atan2(0, 0)`, `log` or division under a `torch.where` that discards the bad value: its
  gradient is 0 * inf = NaN all the same (the `where` trap);
- gradients that grow until they overflow.

## How it is measured
At each operation, the gradient that arrives is checked for NaN and infinity. The finding stands at the operation, first
in backward order, at which a finite gradient arrives and which hands on one that is not. It names sample and element.
There is no threshold, and nothing is reported while the loss itself is not finite (`non-finite-forward`).

## Example
    distance = (a - b).pow(2).sum(-1).sqrt()      # equal vectors: sqrt(0), slope 1 / (2 * 0)

## What to do
Add an epsilon *inside*: `(x.pow(2).sum(-1) + 1e-12).sqrt()`; before a `where`, make the discarded operand harmless too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.reading.non_finite_origin import backward_origin, spoiled
from gradclinic_engine.reading.precision import overflowed_backward
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Culprit, Site
    from gradclinic_engine.reading.paths import Paths

EPSILON_INSIDE = "Add an epsilon inside, where the slope is infinite: `(x + 1e-12).sqrt()`, not `x.sqrt() + 1e-12`."
SAFE_VERSIONS = {
    Formula.LOGARITHM: "Make the discarded operand harmless as well: `torch.where(ok, x, torch.ones_like(x)).log()`.",
    Formula.DIVIDE: "Make the discarded denominator harmless as well: `a / torch.where(ok, b, torch.ones_like(b))`.",
    Formula.ARCCOSINE: "Keep the operand inside: `x.clamp(-1 + 1e-7, 1 - 1e-7).acos()`.",
    Formula.ARCSINE: "Keep the operand inside: `x.clamp(-1 + 1e-7, 1 - 1e-7).asin()`.",
}


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding: the first op in backward order."""
    names = spoiled(paths)
    if not names or not math.isfinite(paths.measurements.loss.value):
        return
    origin = backward_origin(paths)
    if origin and not overflowed_backward(*origin):
        site, culprit = origin
        yield _finding(site, culprit, names)


def _finding(site: Site | None, culprit: Culprit | None, names: tuple[str, ...]) -> Finding:
    location = Location.of(site) if site else Location(name="loss")
    sample = f" It begins with sample {culprit.index[0]}." if culprit and culprit.index else ""
    safe = SAFE_VERSIONS.get(op_of(site).formula, EPSILON_INSIDE) if site else EPSILON_INSIDE
    return RULE.finding(
        severity=Severity.CRITICAL,
        location=location,
        explanation=f"The loss is finite, but on the way back {location} makes NaN or infinity of a finite gradient."
        f"{sample} {listed(names)} would be ruined by the next optimizer step.",
        remedies=(safe, "Look at the named sample: an all-zero row or two equal values are the usual reason."),
        evidence=(Evidence.of(culprit, "first_non_finite_gradient"),) if culprit else (),
        affected=names,
        sites=(site.index,) if site else (),
    )


RULE = Rule("non-finite-backward", Symptom.NON_FINITE, __doc__, check)
