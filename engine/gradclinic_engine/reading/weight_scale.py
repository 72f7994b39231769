"""By what a layer's weights multiply values and gradients, and by what they should, so that depth does no harm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import op_of, rectifies
from gradclinic_engine.reading.linear_chains import Layer, layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

# A rectifier lets half of the mean square through.
GAIN_OF_RECTIFIERS = math.sqrt(2)
# torch's own initialisation has a gain of 0.58 (linear layers, convolutions): less than this somebody asked for.
LEAST_USUAL_GAIN = 0.45
# More than this is not found in what usual initialisations make: at most 5/3, for tanh.
LARGEST_USUAL_GAIN = 2.0
FEWEST_LAYERS = 4
ACTIVATION_SEARCH_STEPS = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of the weights along one way, of layers with weights of their own.

    Attributes:
        layers: In the order of the way.
        found: Median gain: RMS of the weight times the square root of the number of inputs.
        needed: Median of the gain that keeps the size of what passes.
        bits: By how many factors of two the layers after the first shrink what passes, compared with what is needed;
            negative: let it grow.
    """

    layers: tuple[Layer, ...]
    found: float
    needed: float
    bits: float

    @property
    def is_unusual(self) -> bool:
        """Whether no usual initialisation gives such weights."""
        return not LEAST_USUAL_GAIN <= self.found <= LARGEST_USUAL_GAIN


def is_any_unusual(paths: Paths) -> bool:
    """Whether any layer at all has weights as no usual initialisation gives them."""
    return any(not LEAST_USUAL_GAIN <= _gain(layer) <= LARGEST_USUAL_GAIN for layer in layers(paths).values())


def scale_along(paths: Paths, way: Sequence[Site]) -> Scale | None:
    """The scale of the weights along a way; None where too few layers have a weight of their own."""
    known = layers(paths)
    along: dict[str, Layer] = {}
    for site in way:
        if site.index in known:
            along.setdefault(known[site.index].weight.name, known[site.index])
    found = [layer for layer in along.values() if _gain(layer) > 0]
    uses = sum(site.calls for site in way if site.index in known)
    if len(found) < FEWEST_LAYERS or uses > 2 * len(found):  # the rest is one weight used over and over: a recurrence
        return None
    needed = [_needed(paths, layer.site) for layer in found]
    bits = sum(math.log2(need / _gain(layer)) for need, layer in zip(needed[1:], found[1:], strict=True))
    return Scale(tuple(found), median(map(_gain, found)), median(needed), bits)


def _gain(layer: Layer) -> float:
    weight = layer.weight.weight
    return weight.rms * math.sqrt(layer.inputs) if math.isfinite(weight.rms) else 0.0


def _needed(paths: Paths, site: Site) -> float:
    """What its weights have to multiply by, given the activation that follows."""
    current = site
    for _ in range(ACTIVATION_SEARCH_STEPS):
        readers = paths.readers(current)
        if len(readers) != 1:
            break
        current = readers[0]
        if rectifies(current) or op_of(current).halves:
            return GAIN_OF_RECTIFIERS
        if current.parameters:
            break
    return 1.0
