"""A weight that is zero in every element blocks the gradient of everything before it, and cannot leave zero itself.

## What it means
A layer whose weight is all zero multiplies the gradient on its way back by zero. Mostly that heals: the weight's own
gradient is not zero, the first step moves it, and the path is open (a zero-initialised head, the scale of a residual
branch, LoRA's `up`). It does not heal where the weight's own gradient is zero too: behind another zero, or frozen.

## Why it happens
- two layers in a row are initialised to zero, or a ReLU follows a layer whose weight and bias are zero;
- both matrices of a low-rank update, or both the query and the key projection, start at zero;
- a zero-initialised layer was frozen; a checkpoint was loaded that holds zeros.

## How it is measured
From each parameter whose gradient is exactly zero the ways to the loss are followed to the operation at which a
gradient arrives that is not handed on. If that is a product, and the other factor is all zero, its zeros are followed
back to a parameter that is all zero. CRITICAL where that parameter's own gradient is zero for such a reason too, or it
is frozen; INFO where it is not: it heals with the first step. There is no threshold.

## Example
    nn.init.zeros_(self.up.weight); nn.init.zeros_(self.down.weight)      # neither gets a gradient

## What to do
Initialise one of the two with small random numbers; a single layer of zeros at the end of a branch may stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.zero_causes import Cause, Why, zero_causes
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Parameter
    from gradclinic_engine.reading.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each weight of zeros that heals, and one for all of them that block each other."""
    causes = {cause.origin.name: cause for cause in zero_causes(paths, Why.WEIGHT) if cause.origin}
    blocked = {name for cause in causes.values() for name in cause.parameters}
    stuck: list[tuple[Parameter, list[str]]] = []
    for parameter in paths.measurements.parameters:
        if parameter.name not in causes:
            continue
        affected = [name for name in causes[parameter.name].parameters if name != parameter.name]
        # Where something else takes its own gradient, such as a ReLU that is off, that is what has to be told.
        heals = parameter.status is not GradientStatus.FROZEN and parameter.name not in blocked
        if heals or parameter.status is GradientStatus.FLOWING:
            yield _finding([parameter], affected, causes[parameter.name], Severity.INFO)
        else:
            stuck.append((parameter, affected))
    # Weights of zeros that do not heal block one another, and come from one initialisation: the first stands for all.
    if stuck:
        group = [parameter for parameter, _ in stuck]
        met = dict.fromkeys(name for parameter, others in stuck for name in (parameter.name, *others))
        yield _finding(group, list(met), causes[group[0].name], Severity.CRITICAL)


def _finding(zeros: list[Parameter], affected: list[str], cause: Cause, severity: Severity) -> Finding:
    first, names = zeros[0], listed([parameter.name for parameter in zeros])
    one = len(zeros) == 1
    own = "is frozen" if first.status is GradientStatus.FROZEN else "gets a gradient of exactly zero itself"
    fate = (
        "No other zero holds it, so the first step that changes it opens the path."
        if severity is Severity.INFO
        else f"It {own}, so nothing ever opens the path."
        if one
        else "None of them gets a gradient as long as the others are zero, so nothing ever opens the path."
    )
    return RULE.finding(
        severity=severity,
        location=Location(parameter=first.name, module=first.module, op=cause.site.op, source=cause.site.source),
        explanation=f"{names} {'is' if one else 'are'} zero in every element, so no gradient gets past "
        f"{'it' if one else 'them'} to {listed([name for name in affected if name != first.name])}. {fate}",
        remedies=("Nothing: it heals with the first step.",)
        if severity is Severity.INFO
        else (
            f"Initialise `{first.name}` with small random numbers: `nn.init.normal_({first.name}, std=0.02)`.",
            "Unfreeze it, or take the branch out."
            if first.status is GradientStatus.FROZEN
            else "Keep at most one layer of zeros in a row, and let no ReLU see nothing but zeros.",
        ),
        evidence=(
            Evidence("weight_rms", 0.0, "1", 0.0),
            Evidence("parameters_blocked", len(affected), "parameters", 0),
        ),
        affected=tuple(name for name in affected if name != first.name),
        sites=(cause.site.index,),
    )


RULE = Rule("zero-weights", Symptom.ZERO_GRADIENT, __doc__, check)
