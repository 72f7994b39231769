"""An input's magnitude or offset drives the first layer into a bad regime.

## What it means
Layers are initialised for inputs around zero with a spread around one. Inputs in the hundreds saturate sigmoids and
tanh, give the first layer a gradient a hundred times that of the others, and make one learning rate fit nothing.
Inputs with a large offset and a small spread look all alike; inputs in the millionths drown in the bias.

## Why it happens
- raw pixels 0..255, prices, timestamps, ids as floats; percentages beside fractions;
- standardisation that is applied to the validation data only, or with the wrong statistics.

## How it is measured
For floating inputs that a layer reads as they are (not behind a normalisation, and not followed by one): an RMS above
20 together with an RMS of the layer's output above 10, or half of the activation behind it saturated; or a median
offset of more than 20 standard deviations; or an RMS below 0.001 that moves the layer's output by less than 0.01.
Integers (ids) and one-hot vectors never come near this. Not reported when the layer's weights are what is too large.

## Example
    image = torch.from_numpy(array).float()      # 0..255

## What to do
Standardise: `(x - mean) / std` per feature with statistics of the training data, `/ 255` for pixels, a logarithm for
prices; or begin the model with `nn.BatchNorm` or `nn.LayerNorm`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula, Norm
from gradclinic_engine.graph.site_ops import acting_op, op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed, number
from gradclinic_engine.reading.input_reading import next_steps, raw_readers
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site, Tensor
    from gradclinic_engine.reading.paths import Paths

LARGE_RMS, LARGE_OUTPUT_RMS = 20.0, 10.0
SMALL_RMS, SMALL_EFFECT = 1e-3, 1e-2
LARGE_OFFSET = 20.0
FLAT_SHARE = 0.5
# Standardised inputs give the layer's output at most this RMS, or its weights are to blame.
USUAL_OUTPUT_RMS = 3.0


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each input that is out of scale."""
    for each in paths.measurements.inputs:
        if "float" not in each.dtype or not each.statistics.rms > 0:
            continue
        layers = [site for site in raw_readers(paths, each.name) if not _is_normalised(paths, site)]
        for layer in layers:
            if problem := _problem(paths, each, layer):
                yield _finding(paths, each, layer, *problem)
                break


def _is_normalised(paths: Paths, layer: Site) -> bool:
    return any(op_of(site).norm is not Norm.NONE for site in next_steps(paths, layer))


def _problem(paths: Paths, tensor: Tensor, layer: Site) -> tuple[str, Evidence] | None:
    rms, gain = tensor.statistics.rms, _gain(paths, layer)
    if gain is None:
        return None
    output = layer.activation.rms if layer.activation else gain * rms
    flat = max((site.flat_share or 0.0 for site in _saturating(paths, layer)), default=0.0)
    if (
        rms > LARGE_RMS
        and gain <= USUAL_OUTPUT_RMS
        and (max(output, gain * rms) > LARGE_OUTPUT_RMS or flat >= FLAT_SHARE)
    ):
        return f"its values are around {number(rms)}, far from 1", Evidence("input_rms", rms, "1", LARGE_RMS)
    if rms < SMALL_RMS and gain * rms < SMALL_EFFECT:
        return f"its values are around {number(rms)}, next to nothing", Evidence("input_rms", rms, "1", SMALL_RMS)
    offset = tensor.variation.offset if tensor.variation else 0.0
    if offset > LARGE_OFFSET:
        what = f"its features lie {number(offset)} standard deviations away from zero, so samples look alike"
        return what, Evidence("offset", offset, "standard deviations", LARGE_OFFSET)
    return None


def _gain(paths: Paths, layer: Site) -> float | None:
    """RMS of the layer's output for standardised inputs, by its weight."""
    read = (paths.parameters[name] for name in layer.parameters if name in paths.parameters)
    weights = [parameter for parameter in read if len(parameter.shape) > 1]
    return weights[0].weight.rms * math.sqrt(math.prod(weights[0].shape[1:])) if weights else None


def _saturating(paths: Paths, layer: Site) -> list[Site]:
    behind = next_steps(paths, layer, {Formula.ADD})
    return [site for site in behind if acting_op(site).steepest_slope is not None]


def _finding(paths: Paths, tensor: Tensor, layer: Site, what: str, seen: Evidence) -> Finding:
    output = layer.activation.rms if layer.activation else math.nan
    place = Location.of(layer)
    return RULE.finding(
        severity=Severity.WARNING,
        location=Location(name=f"input:{tensor.name}"),
        explanation=f"input:{tensor.name} goes into {place} as it is, and {what} (they lie between "
        f"{number(tensor.statistics.min)} and {number(tensor.statistics.max)}). The layer's output has an RMS of "
        f"{number(output)}, and {listed(layer.parameters)} cannot be trained at one rate with the rest.",
        remedies=(
            "Standardise each feature with the mean and standard deviation of the training data.",
            "Or begin the model with a normalisation: `nn.BatchNorm1d`, `nn.LayerNorm`.",
        ),
        evidence=(seen, Evidence("output_rms", output, "1", LARGE_OUTPUT_RMS)),
        affected=layer.parameters,
        sites=(layer.index, *(site.index for site in _saturating(paths, layer))),
    )


RULE = Rule("unscaled-input", Symptom.DATA, __doc__, check)
