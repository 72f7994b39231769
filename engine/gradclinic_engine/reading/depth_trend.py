"""Stacks of layers along which the gradient fades away or grows without bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import acting_op, op_of
from gradclinic_engine.reading.depth_profile import (
    DepthProfile,
    change_bits,
    depth_profile,
    entry_layers,
    first_found,
    only_weighs,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.reading.time_profile import Recurrence

# The gradient's own decay must be at least this share of the disadvantage of the early weights.
DECAY_SHARE = 0.5
# No trend is told whose gradient changes by less than this.
LEAST_BITS = 8.0


@dataclass(frozen=True, slots=True)
class Trend:
    """A stack of layers and what the gradient does along it.

    Attributes:
        first: The earliest layer: where the change has come to its full size.
        last: The layer nearest to the loss.
        profile: The gradient along the way between them.
        lost_bits: By how many factors of two the first layer's relative gradient is below that of the better ones.
        mechanism: What changes the gradient most, in words.
        mechanism_site: The first op of that kind.
        affected: Weights of the layers that get next to nothing, earliest first.
        ops: All operations on the way at which a gradient arrives.
    """

    first: Site
    last: Site
    profile: DepthProfile
    lost_bits: float
    mechanism: str
    mechanism_site: Site
    affected: tuple[str, ...]
    ops: tuple[Op, ...] = ()

    def share_of(self, is_one: Callable[[Op], bool]) -> float:
        """How many operations of some kind stand on the way, per step from layer to layer."""
        return sum(map(is_one, self.ops)) / len(self.profile.steps)

    @property
    def factor_per_layer(self) -> float:
        """By what the gradient is multiplied per layer on its way back."""
        return float(2 ** (-self.profile.decay / len(self.profile.steps)))

    def runs_along(self, loop: Recurrence) -> bool:
        """Whether the layers are time steps of a loop: a trace unrolls it into a stack that shares its weight."""
        return any(layer.weight.name in loop.site.parameters for layer in self.profile.layers)


def fading(paths: Paths, lost_bits: float, hopeless_bits: float) -> list[Trend]:
    """Stacks whose first layers lose at least ``lost_bits`` against the better ones.

    Args:
        paths: Of the run.
        lost_bits: From where on a weight counts as lost, compared with the second best on its way.
        hopeless_bits: The same compared with what the gradient at the output would do to the best layer.
    """

    def judge(profile: DepthProfile) -> float:
        lost = _lost_bits(profile)
        if lost >= lost_bits and profile.decay >= DECAY_SHARE * min(lost, hopeless_bits):
            return lost
        potential = _lost_against_output_bits(profile)
        return potential if min(potential, profile.decay) >= hopeless_bits else 0.0

    return _trends(paths, judge)


def growing(paths: Paths, gained_bits: float) -> list[Trend]:
    """Stacks along which the gradient grows by at least ``gained_bits`` on its way back."""
    return _trends(paths, lambda profile: -profile.decay if -profile.decay >= gained_bits else 0.0)


def _trends(paths: Paths, judge: Callable[[DepthProfile], float]) -> list[Trend]:
    found: list[Trend] = []
    told: set[int] = set()

    def look(start: Site) -> Trend | None:
        if start.index in told or change_bits(paths, start) < LEAST_BITS:
            return None
        profile = depth_profile(paths, start)
        if profile is None or not profile.layers or not profile.is_exponential:
            return None
        bits = judge(profile)
        if bits and only_weighs(paths, paths.toward_loss(start)):
            return None
        layers = {layer.site.index for layer in profile.layers}
        return _trend(paths, start, profile, bits) if bits and not layers & told else None

    for trend in first_found(entry_layers(paths), look):
        told |= {layer.site.index for layer in trend.profile.layers}
        found.append(trend)
    return found


def _trend(paths: Paths, start: Site, profile: DepthProfile, bits: float) -> Trend:
    towards_zero = profile.decay > 0
    by_activation = {
        index: change for index, change in profile.bits.items() if acting_op(paths.sites[index]).steepest_slope
    }
    share = sum(by_activation.values()) / profile.decay
    layers = {layer.site.index for layer in profile.layers}
    if share >= 0.5:  # noqa: PLR2004 - more than everything else together
        mechanism = "saturating or contracting activations" if towards_zero else "activations"
        responsible = min(by_activation)
    else:
        mechanism = "contracting weights" if towards_zero else "expanding weights"
        responsible = min(layers)
    half_way = profile.layers[-1].norm - profile.decay / 2
    affected = [
        layer.weight.name
        for layer in profile.layers
        if (layer.norm <= half_way if towards_zero else layer.norm >= half_way)
    ]
    starved = [weight.name for weight in profile.starved] if profile.has_underflowed else []
    names = list(dict.fromkeys([*start.parameters[:1], *starved, *affected]))
    return Trend(
        first=start,
        last=profile.layers[-1].site,
        profile=profile,
        lost_bits=bits,
        mechanism=mechanism,
        mechanism_site=paths.sites[responsible],
        affected=tuple(names),
        ops=tuple(op_of(paths.sites[index]) for index in profile.bits),
    )


def _lost_bits(profile: DepthProfile) -> float:
    """How far the first weight's relative gradient is below the second best of its way, in factors of two."""
    others = sorted((layer.relative_gradient for layer in profile.layers), reverse=True)
    if profile.has_underflowed:
        return profile.decay
    first = profile.layers[0].relative_gradient
    if len(others) < 2 or not others[1]:  # noqa: PLR2004 - the second best
        return 0.0
    return math.log2(others[1] / first) if first else profile.decay


def _lost_against_output_bits(profile: DepthProfile) -> float:
    """The same against what the gradient at each layer's output would do to its weight if its inputs were about one."""
    first = profile.layers[0].relative_gradient
    potential = [
        layer.site.gradient.rms / layer.weight.weight.rms
        for layer in profile.layers
        if layer.site.gradient and layer.weight.weight.rms
    ]
    if not potential:
        return 0.0
    return math.log2(max(potential) / first) if first else profile.decay
