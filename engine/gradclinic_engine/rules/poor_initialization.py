"""The weights' scale makes activations or gradients shrink (or grow) by a factor per layer, too much for the depth.

## What it means
A layer multiplies what passes it by its gain: RMS of its weights times the square root of its number of inputs. With a
gain of 0.1 ten layers make 1e-10 of a signal and of its gradient; with a gain of 8 they make 1e9.

## Why it happens
- `normal_(std=0.01)` or `uniform_(-1, 1)` whatever the width;
- an initialisation for another activation, or fan-in and fan-out taken the wrong way round;
- no normalisation or skip connection that would make up for it.

## How it is measured
For the layers on the way from the loss to an early layer: the median gain, and the gain that keeps the size (1.4 where
a ReLU, GELU or the like follows, else 1). Reported where the gain is none that usual initialisations give (0.45 to 2;
torch's own has 0.58), where activations or gradients lose a factor of 2^17, or gain one of 2^14, in regular steps over
at least four layers with weights of their own, and where the weights' scale makes up at least half of that, in log
scale. CRITICAL from 2^24 (2^20) on, or where values overflow. `vanishing-gradient` and `exploding-gradient` are for
what is left.

## Example
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.01)     # width 64: gain 0.08, needed 1.4

## What to do
`nn.init.kaiming_normal_(w, nonlinearity="relu")`, `nn.init.xavier_normal_(w)` for tanh; or normalise per layer.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import number
from gradclinic_engine.reading.depth_profile import (
    FEWEST_STEPS,
    LARGEST_STEP_SHARE,
    depth_profile,
    entry_layers,
    first_found,
    only_weighs,
)
from gradclinic_engine.reading.weight_scale import GAIN_OF_RECTIFIERS, Scale, is_any_unusual, scale_along
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements, Site
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

LOST_BITS, GROWN_BITS = 17.0, 14.0
HOPELESS_LOST_BITS, HOPELESS_GROWN_BITS = 24.0, 20.0
EXPLAINED_SHARE = 0.5


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each stack of layers that no other one shares."""
    told: set[int] = set()

    def look(start: Site) -> Finding | None:
        if start.index in told:
            return None
        way = paths.toward_loss(start)
        scale = scale_along(paths, way)
        if scale is None or not scale.is_unusual or only_weighs(paths, way):
            return None
        profile = depth_profile(paths, start)
        back = profile.decay if profile and profile.is_exponential else 0.0
        lost = _lost_bits(scale, back)
        return _finding(paths.measurements, scale, lost) if lost >= LOST_BITS or -lost >= GROWN_BITS else None

    if is_any_unusual(paths):
        for finding in first_found(entry_layers(paths), look):
            told.update(finding.sites)
            yield finding


def _lost_bits(scale: Scale, back: float) -> float:
    """Factors of two that are lost (negative: gained) and that the weights' scale explains."""
    ahead = _lost_ahead(scale, shrinks=scale.bits > 0)
    change = max(back, ahead) if scale.bits > 0 else min(back, ahead)
    if change < 0 and ahead > -EXPLAINED_SHARE * GROWN_BITS:
        return 0.0  # bounded activations stop the growth: then they saturate, and that is another finding
    return change if abs(scale.bits) >= EXPLAINED_SHARE * abs(change) else 0.0


def _lost_ahead(scale: Scale, *, shrinks: bool) -> float:
    """Factors of two that outputs lose in regular steps on the way forward to the smallest (largest); 0 if not so."""
    seen = [layer.site.activation.rms for layer in scale.layers if layer.site.activation]
    sizes = [math.log2(rms) for rms in seen if rms > 0 and math.isfinite(rms)]
    if not sizes:
        return 0.0
    sizes = sizes[: sizes.index(min(sizes) if shrinks else max(sizes)) + 1]
    lost = sizes[0] - sizes[-1]
    steps = [(earlier - later) * (1 if lost > 0 else -1) for earlier, later in pairwise(sizes)]
    is_trend = len(steps) >= FEWEST_STEPS and max(steps) <= LARGEST_STEP_SHARE * abs(lost)
    return lost if is_trend and median(steps) >= abs(lost) / (4 * len(steps)) else 0.0


def _finding(measurements: Measurements, scale: Scale, lost: float) -> Finding:
    first, last = (Location.of(scale.layers[place].site) for place in (0, -1))
    per_layer = 2.0 ** (-lost / max(1, len(scale.layers) - 1))
    is_hopeless = lost >= HOPELESS_LOST_BITS or -lost >= HOPELESS_GROWN_BITS
    broken = not math.isfinite(measurements.loss.value)
    weight = scale.layers[0].weight.name
    usual = "kaiming_normal_" if scale.needed == GAIN_OF_RECTIFIERS else "xavier_normal_"
    return RULE.finding(
        Severity.CRITICAL if is_hopeless or broken else Severity.WARNING,
        first,
        f"The weights from {first} to {last} have a gain of {number(scale.found)} per layer, where "
        f"{number(scale.needed)} is needed to keep the size of what passes: it {'shrinks' if lost > 0 else 'grows'} by "
        f"about {number(per_layer)} per layer, {number(2.0**-lost)} over {len(scale.layers)} layers.",
        (
            f"Multiply them by about {number(scale.needed / scale.found)}: `nn.init.{usual}({weight})` and so on.",
            "Put a normalisation (LayerNorm, BatchNorm) into each layer, or skip connections around it.",
        ),
        evidence=(
            Evidence("gain_found", scale.found, threshold=scale.needed, text="median over the layers"),
            Evidence("gain_needed", scale.needed),
            Evidence("factor_per_layer", per_layer),
            Evidence("layers", len(scale.layers), "layers", text=f"from {first} to {last}"),
        ),
        affected=tuple(layer.weight.name for layer in scale.layers),
        sites=tuple(layer.site.index for layer in scale.layers),
    )


RULE = Rule("poor-initialization", Symptom.VANISHING, __doc__, check)
