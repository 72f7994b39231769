"""An operation whose derivative is zero almost everywhere stands on the only way from the loss to parameters.

## What it means
Autograd goes through the operation without complaint and multiplies the gradient by exactly zero. The parameters before
it have a gradient, and all of it is zero.

## Why it happens
- `round`, `floor`, `ceil`, `trunc`, `sign`, division with a rounding mode: steps, flat between the jumps;
- quantisation or binarisation written without a straight-through estimator;
- a derivative in the loss (`torch.autograd.grad`: a residual of a PINN, forces) of a network of ReLUs, whose second
  derivative is zero;
- sampling with `torch.bernoulli`, `torch.poisson` or `torch.normal(mean, std)` instead of `mean + std * noise`.

## How it is measured
From every trainable parameter whose gradient is exactly zero, all ways to the loss are followed up to the first
operation at which a non-zero gradient still arrives. Reported when that is such an operation, or when all that a weight
multiplies was rounded to zero by one. There is no threshold. A straight-through estimator leaves a way around, so the
gradient is not zero. An operation whose backward raises instead (`//`, `heaviside`) is a `non-differentiable-op`.

## Example
    return torch.round(self.fc(x))      # d round(x) / dx = 0

## What to do
Pass the gradient straight through, or train with the smooth value and round only at inference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.reading.severed_paths import dropped_by_derivatives
from gradclinic_engine.reading.zero_causes import Why, zero_causes
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths


_OF_STEP = (
    "The derivative of the operation at {location} is zero almost everywhere. Every way from the loss to {names} "
    "passes through it, so their gradient is exactly zero."
)
_FOR_STEP = (
    "Pass the gradient straight through: `y = x + (torch.round(x) - x).detach()`.",
    "For samples, reparametrise: `mean + std * torch.randn_like(mean)`, or a relaxed Bernoulli.",
    "Train with the smooth value and apply this operation only at inference.",
)
_OF_KINK = (
    "The loss reads a derivative that `torch.autograd.grad` took through the operation at {location}. The second "
    "derivative of this operation is zero almost everywhere, so no gradient reaches {names}."
)
_FOR_KINK = (
    "Use activations that have a second derivative in this network: tanh, SiLU, softplus or sin.",
    "If only the derivative is wrong to train on, add a loss term that reads the output itself.",
)


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each such op, and one for all without a second derivative: to replace them is one change."""
    for cause in zero_causes(paths, Why.STEP):
        yield _finding(cause.site, tuple(cause.parameters), _OF_STEP, _FOR_STEP)
    if kinks := zero_causes(paths, Why.KINK):
        first = min((cause.site for cause in kinks), key=lambda site: site.first_call_order)
        starved = (name for cause in kinks for name in cause.parameters)
        names = tuple(dict.fromkeys((*starved, *dropped_by_derivatives(paths))))
        yield _finding(first, names, _OF_KINK, _FOR_KINK)


def _finding(site: Site, names: tuple[str, ...], explanation: str, remedies: tuple[str, ...]) -> Finding:
    location = Location.of(site)
    return RULE.finding(
        severity=Severity.CRITICAL,
        location=location,
        explanation=explanation.format(location=location, names=listed(names)),
        remedies=remedies,
        evidence=(Evidence("parameters_with_zero_gradient", len(names), "parameters", 0),),
        affected=names,
        sites=(site.index,),
    )


RULE = Rule("zero-derivative-op", Symptom.ZERO_GRADIENT, __doc__, check)
