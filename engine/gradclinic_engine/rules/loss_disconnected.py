"""The loss does not depend on any trainable parameter, and no operation of the model is to blame.

## What it means
`loss.backward()` would raise "element 0 of tensors does not require grad": there is nothing that it could follow.

## Why it happens
- the loss is computed from the target alone, from a constant, or from an output that no parameter has touched;
- a loss module that detaches its input or counts correct answers (an accuracy is no loss);
- the archive has no parameters: it was frozen (`torch.jit.freeze`), or its weights were traced as constants.

## How it is measured
The loss of the run does not require a gradient, and following the data flow from the parameters finds neither an
operation that cuts (`detached-graph`, `non-differentiable-op`) nor only parameters that forward never reads
(`unused-parameter`). There is no threshold.

## Example
    def forward(self, output, target):
        return (output.argmax(1) == target).float().mean()      # accuracy, not a loss

## What to do
Compute the loss from the model's output with differentiable operations; export the training model, not a frozen one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.reading.severed_paths import is_disconnected
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.reading.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding."""
    measurements = paths.measurements
    if not is_disconnected(paths):
        return
    names = tuple(parameter.name for parameter in measurements.parameters if parameter.requires_grad)
    why = (
        "The loss does not require a gradient: none of the trainable parameters has a part in it."
        if measurements.parameters
        else "The model has no parameters, so there is nothing to train. A frozen archive, or one that was traced with "
        "its weights as constants, looks like this."
    )
    yield RULE.finding(
        severity=Severity.CRITICAL,
        location=Location(name="loss"),
        explanation=why,
        remedies=(
            "Compute the loss from the output that the parameters produce, with differentiable operations only.",
            "Export the model that you train: `torch.jit.script(model)` without `torch.jit.freeze`.",
        ),
        evidence=(Evidence("trainable_parameters", len(names), "parameters", text="none of them reaches the loss"),),
        affected=names,
    )


RULE = Rule("loss-disconnected", Symptom.NO_GRADIENT, __doc__, check)
