"""A `detach`, a `no_grad` region or a re-wrapped constant cuts the only way from the loss to parameters.

## What it means
The parameters listed under *affected* get no gradient at all (`grad is None`): every way from the loss to
them runs into one operation that hands on the value but not the graph. They keep their initial values
for ever, while the loss may still go down because later layers learn.

## Why it happens
- `.detach()`, `.data` or `.item()` left over from debugging, or meant for another branch;
- a `with torch.no_grad():` block that covers more than it should, for example the encoder;
- `torch.autograd.grad` without `create_graph=True`, where the loss uses the derivative (a gradient penalty, forces);
- a value rebuilt with `torch.tensor(value)`, `.tolist()` or numpy: the copy knows nothing of its origin.

## How it is measured
Each operation of the program is asked whether its result requires a gradient. From every trainable
parameter whose gradient is None, all ways to the loss are followed; the finding stands at the first
operation whose operand requires a gradient and whose result does not. There is no threshold. A `detach`
beside another way that does carry the gradient (a stop-gradient target, a straight-through estimator)
is not reported. A network whose weights are a copy of a sibling's, or whose name says `target`,
`teacher`, `ema` or `momentum`, is intended to be cut off: INFO.

## Example
    features = self.encoder(x).detach()   # the encoder never learns
    return self.head(features)

## What to do
Remove the cut. If the part should stay as it is, say so with `requires_grad_(False)`: then it costs
no memory, and no optimizer state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.reading.severed_paths import Means, Severed, severed_paths
from gradclinic_engine.reading.twins import is_copy_to_follow
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements
    from gradclinic_engine.reading.paths import Paths

WHAT_CUTS = {
    Means.DETACH: "hands on the value without its graph",
    Means.DERIVATIVE: "takes a derivative and keeps no graph of it (`create_graph=False`)",
    Means.NO_GRAD: "is the first that runs with gradients switched off (`torch.no_grad()`)",
    Means.REWRAPPED: "copies the value into a new tensor that knows nothing of where it came from",
}
REMEDIES = {
    Means.DETACH: "Remove the detach (use `x` instead of `x.detach()` or `x.data`).",
    Means.DERIVATIVE: "Pass `create_graph=True` to this `torch.autograd.grad`.",
    Means.NO_GRAD: "End the `with torch.no_grad():` block before this line, or remove it.",
    Means.REWRAPPED: "Use the tensor itself; join several with `torch.stack`, not `torch.tensor([...])`.",
}


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each place that cuts."""
    measurements = paths.measurements
    for severed in severed_paths(paths):
        if severed.means in WHAT_CUTS:
            yield _finding(measurements, severed)


def _finding(measurements: Measurements, severed: Severed) -> Finding:
    meant = is_copy_to_follow(measurements, severed.parameters)
    cut = Location.of(severed.site)
    purpose = " They look like a target network, which is updated by copying: that is fine." if meant else ""
    others = f" Further cuts on other ways: {listed([str(Location.of(site)) for site in severed.others])}."
    return RULE.finding(
        severity=Severity.INFO if meant else Severity.CRITICAL,
        location=cut,
        explanation=f"The operation at {cut} {WHAT_CUTS[severed.means]}. Every way from the loss to "
        f"{listed(severed.parameters)} passes through it, so they get no gradient and keep their present values."
        f"{purpose}{others if severed.others else ''}",
        remedies=(
            REMEDIES[severed.means],
            "If these parameters are meant to stay as they are, freeze them: `module.requires_grad_(False)`.",
        ),
        evidence=(
            Evidence("parameters_without_gradient", len(severed.parameters), "parameters", 0),
            Evidence(
                "result_requires_grad", float(severed.site.requires_grad), text="its operand does, its result does not"
            ),
        ),
        affected=severed.parameters,
        sites=(severed.site.index,),
    )


RULE = Rule("detached-graph", Symptom.NO_GRADIENT, __doc__, check)
