"""A sigmoid, tanh or other bounded activation sits in its flat region, where the gradient is (nearly) gone.

## What it means
At the flat ends of the curve the output hardly depends on the input. The gradient is multiplied by that tiny slope,
so the layers before the activation get next to nothing, and what saturated stays saturated.

## Why it happens
- weights or biases are far too large, or one update with too large a learning rate made them so;
- the inputs are not standardised (pixels 0..255, prices, timestamps);
- a sum over many inputs that is not scaled by the square root of their number.

## How it is measured
An element counts as flat where the local slope is below 1 % of the steepest of the curve: |x| > 3.0 for tanh, > 6.0 for
sigmoid, > 9 for softsign, below -4.6 for ELU, outside the bounds for hardtanh, hardsigmoid, ReLU6. With default
initialisation almost none is. WARNING when most are: half for smooth curves, 75 % for hardtanh and hardsigmoid (a third
is normal there), 90 % for ReLU6 (half is normal there). The gates inside a fused LSTM, GRU or GLU are computed again
from input and weights, for a few sequences and steps; 90 % for gates that remember, which some hold open on purpose.
CRITICAL from 99 % on, or when exactly zero comes out on the way back. Not reported where the loss
is at most 5 % of that of a constant guess: a model that has learned its targets is sure of them.

## Example
    gate = torch.sigmoid(self.fc(pixels))     # pixels 0..255: fc gives hundreds, sigmoid gives exactly 0 or 1

## What to do
Standardise the inputs, use `nn.init.xavier_uniform_` (with `nn.init.calculate_gain`), normalise before the activation,
or use one that does not saturate (ReLU, GELU) inside the network. A sigmoid at the output belongs into the loss:
`binary_cross_entropy_with_logits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import acting_op
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed, number, share
from gradclinic_engine.reading.convergence import has_converged
from gradclinic_engine.reading.paths import Paths, gradient_norm, is_all_zero
from gradclinic_engine.reading.saturation import Saturation, saturation
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site

ALL_BUT_GONE_SHARE = 0.99


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each activation that is saturated."""
    if has_converged(paths.measurements):
        return
    for site in paths.sites.values():
        if site.requires_grad and paths.reaches_loss(site):
            found = saturation(paths, site)
            if found is not None:
                yield _finding(paths, site, found)


def _finding(paths: Paths, site: Site, found: Saturation) -> Finding:
    location, flat = Location.of(site), found.flat
    before = next((operand for operand in paths.operands(site) if operand.activation), None)
    evidence = [Evidence("flat_share", flat, "1", found.limit, text=found.gate)]
    lie, gone = "", flat >= ALL_BUT_GONE_SHARE
    if before and before.activation and not found.gate:
        evidence.append(Evidence("input_rms", before.activation.rms))
        lie = f" Its inputs lie between {number(before.activation.min)} and {number(before.activation.max)}."
        if gradient_norm(site) > 0 and before.gradient and len(paths.readers(before)) == 1:
            kept = gradient_norm(before) / gradient_norm(site)
            evidence.append(Evidence("gradient_kept", kept, "1", acting_op(site).steepest_slope))
            gone |= is_all_zero(before)
    feeding = paths.feeding_parameters(site)
    what = f"the {found.gate} in {location}" if found.gate else str(location)
    layer = (feeding or ("layer.weight",))[0].rpartition(".")[0]
    return RULE.finding(
        severity=Severity.CRITICAL if gone else Severity.WARNING,
        location=location,
        explanation=f"{share(flat)} of the values of {what} lie in its flat region.{lie} The gradient that "
        f"comes back through it is {'gone' if gone else 'much reduced'}: {listed(feeding) or 'what is before it'} "
        "can hardly move.",
        remedies=(
            f"Make its inputs smaller: standardise the data, `nn.init.xavier_uniform_({layer}.weight)`, zero bias.",
            "Put a normalisation (LayerNorm, BatchNorm) before the activation, or use ReLU or GELU inside the network.",
            "At the output, leave the activation to the loss, for example `binary_cross_entropy_with_logits`.",
        ),
        evidence=tuple(evidence),
        affected=feeding,
        sites=(site.index,),
    )


RULE = Rule("saturated-activation", Symptom.ZERO_GRADIENT, __doc__, check)
