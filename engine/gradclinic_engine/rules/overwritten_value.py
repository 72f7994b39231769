"""A value computed from parameters is overwritten in place, or never selected, before it reaches the loss.

## What it means
The parameters were used, but nothing of what they computed is left: their gradient is exactly zero (or None).

## Why it happens
- `h.zero_()`, `h.copy_(x)`, `h[:, 4:] = x` on an activation instead of on a buffer;
- a part of a concatenation is never read again; an index or slice is off by one block;
- `torch.where` or `masked_fill` with a condition that replaces every element.

## How it is measured
From each parameter whose gradient is exactly zero the ways to the loss are followed to the operation at which a
gradient arrives that is not handed on: an in-place write, a `where` or `masked_fill`, or a `cat` or `stack`; then the
write into (or selection from) what it gave is looked up. CRITICAL for writes; WARNING for selections and conditions,
INFO where those depend on the batch and a module built the same way learns (an expert). There is no threshold.

## Example
    both = torch.cat([self.left(x), self.right(x)], dim=1)
    both[:, 4:] = x[:, :4]                # what `right` computed is gone

## What to do
Write into a copy (`h = h.clone()` before, or `torch.where`), or take the layer out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Kind
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.reading.never_used import is_write
from gradclinic_engine.reading.twins import with_learning_twin
from gradclinic_engine.reading.zero_causes import Cause, Why, zero_causes
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements
    from gradclinic_engine.reading.paths import Paths

# The same at every batch.


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each op that drops what was computed."""
    for cause in zero_causes(paths, Why.NEVER_USED):
        yield _finding(paths.measurements, cause)


def _finding(measurements: Measurements, cause: Cause) -> Finding:
    location, names = Location.of(cause.site), listed(cause.parameters)
    writes = is_write(cause.site)
    modules = {name.rpartition(".")[0] for name in cause.parameters}
    depends_on_batch = op_of(cause.site).kind is not Kind.PART
    has_twin = depends_on_batch and bool(modules & with_learning_twin(measurements))
    return RULE.finding(
        severity=Severity.CRITICAL if writes else Severity.INFO if has_twin else Severity.WARNING,
        location=location,
        explanation=f"What {names} computed is {'overwritten in place' if writes else 'never selected'} at {location}, "
        "so nothing of it reaches the loss and the gradient is exactly zero.",
        remedies=(
            "Write into another tensor, or keep what is needed with `torch.where`."
            if writes
            else "Check the indices or the condition: one of the parts is never chosen.",
            "If it should be dropped, take the layer out or freeze it.",
        ),
        evidence=(Evidence("parameters_with_zero_gradient", len(cause.parameters), "parameters", 0),),
        affected=tuple(cause.parameters),
        sites=(cause.site.index,),
    )


RULE = Rule("overwritten-value", Symptom.NO_GRADIENT, __doc__, check)
