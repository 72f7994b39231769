"""Forward reads a copy of a parameter (a buffer, a cloned constant) instead of the parameter.

## What it means
The copy has the parameter's values, so the output looks right, but the loss does not depend on the parameter: its
gradient is None, and training changes a tensor that nothing reads.

## Why it happens
- `self.register_buffer("kernel", self.weight.detach().clone())`, and forward uses `self.kernel`;
- `self.weight.data.clone()` or a NumPy copy made in `__init__`, an averaged copy that was left switched on;
- a trace that met the weight as a constant.

## How it is measured
A trainable parameter that no operation on the way to the loss reads, and a buffer, frozen parameter or constant on
that way with the same sizes and the same mean, RMS, minimum and maximum (to 0.01 % of the RMS). Tensors of one repeated
value are left out: zeros and ones are equal by chance.

## Example
    self.register_buffer("kernel", self.weight.detach().clone())
    return x @ self.kernel.t()            # training changes self.weight

## What to do
Read the parameter in forward, and drop the copy; make copies for evaluation under another name, outside of forward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.reading.shadowed import Shadowed, shadowed
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.reading.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each module that has copies in the place of its parameters."""
    groups: dict[tuple[str, str], list[Shadowed]] = {}
    for found in shadowed(paths):
        groups.setdefault((found.parameter.module, found.copy.rpartition(".")[0]), []).append(found)
    for group in groups.values():
        yield _finding(group)


def _finding(group: list[Shadowed]) -> Finding:
    parameter, site = group[0].parameter, group[0].site
    copy = f"`{group[0].copy}`" if group[0].copy else f"the constant at {Location.of(site)}"
    names = tuple(found.parameter.name for found in group)
    return RULE.finding(
        severity=Severity.CRITICAL,
        location=Location(parameter=parameter.name, module=parameter.module, op=site.op, source=site.source),
        explanation=f"Nothing on the way to the loss reads {listed(names)}; what is read in its place, {copy}, has the "
        "same values. So the parameter gets no gradient, and training it changes nothing.",
        remedies=(
            f"Read `{parameter.name}` in forward instead of {copy}.",
            "If the copy should be trained, make it the parameter and delete the other one.",
        ),
        evidence=(
            Evidence("parameter_rms", parameter.weight.rms),
            Evidence("copy_rms", parameter.weight.rms, text=f"{copy} has the same values"),
        ),
        affected=names,
        sites=(site.index,),
    )


RULE = Rule("shadowed-parameter", Symptom.NO_GRADIENT, __doc__, check)
