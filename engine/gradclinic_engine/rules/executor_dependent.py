"""TorchScript's plain and its optimising executor disagree about a gradient.

## What it means
The optimising executor, which runs by default, has derivative formulas of its own and joins operations into one. Where
a value stands exactly on a kink or a pole the two give different answers: one has NaN or zero where the other is fine.
Training then breaks in the script and not in Python, or from the third step on, when the optimiser sets in.

## Why it happens
- `relu` behind a root or a power: Python drops the infinite slope at zero, the script multiplies it by zero;
- `clamp` before `acos` or `asin`, `std` of equal numbers;
- `min` or `max` of two equal tensors: Python halves the gradient, the script drops it. The clipped objective of PPO,
  `min(ratio * gain, clamp(ratio) * gain)`, is such a tie as long as no ratio leaves the clip.

## How it is measured
The model runs three more times with the default executor, which looks on at first, with the same seed. Reported where
a parameter's gradient is NaN or infinite with one of them only, or zero (or missing) with one of them only while the
other's is not rounding (1e-5 of the median gradient). CRITICAL where the default executor is the one that is wrong.
Not run again where it can make no difference: on a CPU, with finite numbers of ordinary size, and nothing but
operations whose derivative is the same formula in both (linear and convolution layers, relu, tanh, sums, shapes…).

## Example
    energy = torch.relu(self.score(x)).sqrt()      # Python: 0 behind the relu; optimised: inf * 0 = NaN

## What to do
Keep the operand away from the point (`(x + 1e-6).sqrt()`), or turn the optimiser off:
`torch.jit.set_fusion_strategy([])` does not help, `with torch.jit.optimized_execution(False)` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.measurements import ExecutorDifference, GradientStatus
from gradclinic_engine.reading.non_finite_origin import backward_origin
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

# Their derivative where two operands are equal is a matter of convention.


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding, at the op that most likely makes the difference."""
    found = paths.measurements.executor_differences
    if not found:
        return
    site = _origin(paths, found)
    names = tuple(difference.parameter for difference in found)
    first = found[0]
    is_worse = all(difference.plain is GradientStatus.FLOWING for difference in found)
    location = Location.of(site) if site else Location(parameter=first.parameter)
    yield RULE.finding(
        Severity.CRITICAL if is_worse else Severity.WARNING,
        location,
        f"The gradient of {listed(names)} is {first.plain.value} with the plain executor and {first.optimised.value} "
        f"with the optimising one, which runs by default. {location} is where the two part.",
        (
            "Decide ties yourself: `torch.where(a < b, a, b)` in place of `torch.min(a, b)`."
            if site and op_of(site).has_ties
            else "Keep its operand off the point of infinite slope: `(x + 1e-6).sqrt()`, or clamp it further in.",
            "Or run the script in `with torch.jit.optimized_execution(False):`.",
        ),
        evidence=(
            Evidence("parameters_that_differ", len(names), "parameters", 0, text=listed(names)),
            *((Evidence.of(site.gradient_culprit, "infinite_gradient"),) if site and site.gradient_culprit else ()),
        ),
        affected=names,
        sites=(site.index,) if site else (),
    )


def _origin(paths: Paths, found: tuple[ExecutorDifference, ...]) -> Site | None:
    """The op at which a gradient becomes infinite, else the likeliest one that all these parameters pass, no other."""
    names = {difference.parameter for difference in found}
    agreeing = {parameter.name for parameter in paths.measurements.parameters} - names
    on_the_way = [
        site
        for site in paths.sites.values()
        if site.requires_grad and paths.reaches_loss(site) and names <= site.reached_by
    ]
    own = [site for site in on_the_way if not agreeing & site.reached_by] or on_the_way
    if any(GradientStatus.NON_FINITE in (difference.plain, difference.optimised) for difference in found):
        origin = backward_origin(paths)
        if origin and origin[0]:
            return origin[0]
        likely = [site for site in own if op_of(site).is_singular]
    else:
        # Two tensors tie as a whole where one is made of the other; a clamp only where an element meets its bound.
        likely = sorted(
            (site for site in own if op_of(site).has_ties),
            key=lambda site: len(paths.operands(site)),
            reverse=True,
        )
    return next(iter(likely), None) or (own[-1] if own else None)


RULE = Rule("executor-dependent", Symptom.MODE, __doc__, check)
