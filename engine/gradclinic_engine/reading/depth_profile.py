"""How the gradient's size changes from the loss back to a layer, and what along the way changes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, takewhile
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from gradclinic_engine.graph.op import Kind, Squash
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.reading.paths import gradient_norm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradclinic_engine.measurements import Parameter, Site
    from gradclinic_engine.reading.paths import Paths

# A trend needs steps: below this many, one unusual layer looks like one.
FEWEST_STEPS = 4
# Where one step makes up more than this share of the change, it is that step and no trend.
LARGEST_STEP_SHARE = 0.5
# Gradient that fell by this many bits in a regular way and then is exactly zero has underflowed.
UNDERFLOW_BITS = 40
# Of more layers than this not each is tried as the first of a stack.
MAX_STARTS = 32

_Found = TypeVar("_Found")


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
        starved: Weights of the layers before the first one of ``layers``, at which nothing but zero arrives.
        merges: As a layer's ``norm``, where ways join, as after a residual block; the first is the first layer's.
    """

    layers: tuple[Layer, ...]
    bits: Mapping[int, float]
    decay: float
    starved: tuple[Parameter, ...]
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
        return bool(self.starved) and self.decay >= UNDERFLOW_BITS


def depth_profile(paths: Paths, start: Site) -> DepthProfile | None:
    """The profile from ``start`` to the loss; None where no gradient arrives or nothing was measured."""
    profiles = paths.once(_profiles)
    if start.index not in profiles:
        profiles[start.index] = _profile(paths, start)
    return profiles[start.index]


def _profiles(_: Paths) -> dict[int, DepthProfile | None]:
    """Those that somebody asked for; several rules look at the same ones."""
    return {}


def _profile(paths: Paths, start: Site) -> DepthProfile | None:
    known = paths.once(_places)
    way = [known[site.index] for site in paths.toward_loss(start)]
    measured = [place for place in way if place.norm is not None]
    if len(measured) < 2 or any(place.is_broken for place in measured):  # noqa: PLR2004 - a change needs two ends
        return None
    norms = [place.norm or 0.0 for place in measured]
    layers = [
        Layer(place.site, place.weight, place.norm) for place in measured if place.weight and place.norm is not None
    ]
    before = takewhile(lambda place: not place.weight or place.norm is None, way)
    starved = tuple(place.weight for place in before if place.weight)
    bits = {place.site.index: later - norm for place, norm, later in zip(measured[1:], norms, norms[1:], strict=False)}
    merges = [place.norm or 0.0 for place in measured[1:] if place.is_merge]
    decay = norms[-1] - (layers[0].norm if layers else norms[0])
    joined = (*(layer.norm for layer in layers[:1]), *merges)
    return DepthProfile(tuple(layers), bits, decay, starved, joined)


def first_found(starts: Sequence[Site], look: Callable[[Site], _Found | None]) -> Iterator[_Found]:
    """What is seen from some of the starts, in their order.

    Of very many not each is tried: where something is seen, also those that were left out before it.
    """
    step = max(1, -(-len(starts) // MAX_STARTS))
    left_out: Sequence[Site] = ()
    for first in range(0, len(starts), step):
        found = look(starts[first])
        if found is not None:
            yield next((earlier for start in left_out if (earlier := look(start)) is not None), found)
        left_out = starts[first + 1 : first + step]


@dataclass(frozen=True, slots=True)
class _Place:
    """What a profile needs of one site.

    Attributes:
        norm: L2 norm of the gradient that arrives, as log2; None where none does.
        weight: That it multiplies by.
        is_merge: Ways that need a gradient join here.
        is_broken: Its gradient is not finite.
    """

    site: Site
    norm: float | None
    weight: Parameter | None
    is_merge: bool
    is_broken: bool


def _places(paths: Paths) -> dict[int, _Place]:
    weights = paths.weights
    norms = paths.once(_norms)
    found = {}
    for site in paths.sites.values():
        found[site.index] = _Place(
            site,
            norms.get(site.index),
            next((weights[name] for name in weights_of(paths, site) if name in weights), None),
            sum(each.requires_grad for each in paths.operands(site)) > 1,
            site.gradient is not None and bool(site.gradient.nonfinite_count),
        )
    return found


def _norms(paths: Paths) -> dict[int, float]:
    """L2 norm of the gradient that arrives at each site where one does, as log2."""
    norms = ((index, gradient_norm(site)) for index, site in paths.sites.items())
    return {index: math.log2(norm) for index, norm in norms if norm > 0}


def change_bits(paths: Paths, start: Site) -> float:
    """At most this many factors of two does the gradient lose or gain from the loss to any layer on the way; cheap."""
    return paths.once(_changes).get(start.index, math.inf)


def _changes(paths: Paths) -> dict[int, float]:
    """By site: how far the gradient at the end of its way is from the smallest or largest along it; not in loops."""
    found: dict[int, tuple[float, float, float] | None] = {}  # at the end, smallest, largest, as log2
    norms = paths.once(_norms)
    for start in entry_layers(paths):
        way: dict[int, None] = {}
        site: Site | None = start
        while site is not None and site.index not in found and site.index not in way:
            way[site.index] = None
            site = paths.onward(site)
        behind: tuple[float, float, float] | None = (math.nan, math.inf, -math.inf)
        if site is not None:
            behind = None if site.index in way else found[site.index]
        for index in reversed(way):
            bits = norms.get(index, math.inf)
            if behind is not None and bits < math.inf:
                end, low, high = behind
                behind = (bits if math.isnan(end) else end, min(low, bits), max(high, bits))
            found[index] = behind
    return {index: max(each[2] - each[0], each[0] - each[1]) for index, each in found.items() if each is not None}


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
    return paths.once(_entry_layers)


def _entry_layers(paths: Paths) -> list[Site]:
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


def only_weighs(paths: Paths, way: Sequence[Site]) -> bool:
    """Whether the way leads through the scores of an attention, which weigh other values.

    What is lost there is lost to the softmax, whatever the weights, and is no trend along layers.
    """
    weights = paths.once(_places)
    for place, (before, site) in enumerate(pairwise(way)):
        op = op_of(site)
        is_score = op.squash is Squash.SOFTMAX or (
            op.kind is Kind.ATTENTION and any(before.index in held for held in site.arguments[:2])
        )
        if is_score and any(weights[later.index].weight for later in way[place + 2 :]):
            return True
    return False
