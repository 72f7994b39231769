"""How the gradient's size changes from the loss back to a layer, and what along the way changes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from gradclinic_worker.paths import gradient_norm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclinic_worker.measurements import Parameter, Site
    from gradclinic_worker.paths import Paths

# A trend needs steps: below this many, one unusual layer looks like one.
FEWEST_STEPS = 4
# Where one step makes up more than this share of the change, it is that step and no trend.
LARGEST_STEP_SHARE = 0.5
# Gradient that fell by this many bits in a regular way and then is exactly zero has underflowed.
UNDERFLOW_BITS = 40


@dataclass(frozen=True, slots=True)
class Layer:
    """A site that multiplies by a weight, on the way from the profile's start to the loss.

    Attributes:
        site: The site.
        weight: Its weight (of two or more dimensions).
        norm: L2 norm of the gradient that arrives at its output, as log2.
    """

    site: Site
    weight: Parameter
    norm: float

    @property
    def relative_gradient(self) -> float:
        """That of its weight."""
        return relative_gradient(self.weight)


@dataclass(frozen=True, slots=True)
class DepthProfile:
    """The gradient along one way to the loss, earliest layer first.

    Attributes:
        layers: The layers along the way at which some gradient arrives.
        bits: How many factors of two the gradient loses on its way back through a site, by site index.
        decay: Factors of two that it loses from the last site of the way to the first layer; negative: gains.
        starved: Number of layers before the first one of ``layers`` at which nothing but zero arrives.
        merges: As a layer's ``norm``, where ways join, as after a residual block; the first is the first layer's.
    """

    layers: tuple[Layer, ...]
    bits: Mapping[int, float]
    decay: float
    starved: int
    merges: tuple[float, ...] = ()

    @property
    def steps(self) -> list[float]:
        """Factors of two lost from each layer to the one before it; of a residual stream, from merge to merge."""
        norms = [layer.norm for layer in self.layers]
        if len(norms) <= FEWEST_STEPS and len(self.merges) > FEWEST_STEPS:
            norms = list(self.merges)
        return [later - earlier for earlier, later in pairwise(norms)]

    @property
    def is_exponential(self) -> bool:
        """Whether the change is spread over depth instead of standing in one place."""
        steps = [step if self.decay > 0 else -step for step in self.steps]
        change = abs(self.decay)
        return (
            len(steps) >= FEWEST_STEPS
            and max(self.bits.values(), key=abs, default=0.0) <= LARGEST_STEP_SHARE * change
            and max(steps) <= LARGEST_STEP_SHARE * change
            and median(steps) >= change / (4 * len(steps))
        )

    @property
    def has_underflowed(self) -> bool:
        """Whether layers before get exactly zero only because nothing smaller can be represented."""
        return self.starved > 0 and self.decay >= UNDERFLOW_BITS


def depth_profile(paths: Paths, start: Site) -> DepthProfile | None:
    """The profile from ``start`` to the loss; None where no gradient arrives or nothing was measured."""
    way = paths.toward_loss(start)
    measured = [site for site in way if gradient_norm(site) > 0]
    if len(measured) < 2 or any(site.gradient and site.gradient.nonfinite for site in measured):  # noqa: PLR2004 - a change needs two ends
        return None
    norms = {site.index: math.log2(gradient_norm(site)) for site in measured}
    weights = {parameter.name: parameter for parameter in paths.measurements.parameters if len(parameter.shape) > 1}
    layers = []
    starved = 0
    for site in way:
        names = [name for name in weights_of(paths, site) if name in weights]
        if names and site.index in norms:
            layers.append(Layer(site, weights[names[0]], norms[site.index]))
        elif names and not layers:
            starved += 1
    bits = {later.index: norms[later.index] - norms[earlier.index] for earlier, later in pairwise(measured)}
    merges = [
        norms[site.index] for site in measured[1:] if sum(each.requires_grad for each in paths.operands(site)) > 1
    ]
    decay = norms[measured[-1].index] - (layers[0].norm if layers else norms[measured[0].index])
    joined = (*(layer.norm for layer in layers[:1]), *merges)
    return DepthProfile(tuple(layers), bits, decay, starved, joined)


def relative_gradient(parameter: Parameter) -> float:
    """RMS of a parameter's gradient over RMS of the parameter; 0 where there is none."""
    gradient, weight = parameter.gradient, parameter.weight
    return gradient.rms / weight.rms if gradient and weight.rms else 0.0


def weights_of(paths: Paths, site: Site) -> list[str]:
    """Names of the parameters that ``site`` reads, directly or through a view such as a transposition."""
    names = list(site.parameters)
    for operand in paths.operands(site):
        if operand.is_view:
            names.extend(operand.parameters)
    return names


def entry_layers(paths: Paths) -> list[Site]:
    """Sites that read a trainable weight, in the order in which they ran; views of a weight stand for it."""
    return sorted(
        {
            site.index: site
            for parameter in paths.measurements.parameters
            if parameter.requires_grad and len(parameter.shape) > 1
            for site in paths.first_readers(parameter)
            if site.requires_grad and paths.reaches_loss(site)
        }.values(),
        key=lambda site: site.first_call_order,
    )
