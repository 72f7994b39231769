"""The gradient grows by a factor per layer (or per time step), until one update throws the weights away.

## What it means
Each layer multiplies the gradient on its way back. Where these factors are above one, the early layers get a
gradient that is many orders of magnitude larger than what the loss sends: no learning rate suits all layers, and
the loss jumps or becomes NaN.

## Why it happens
- weights are initialised too large (`normal_(std=1)`, a gain above what the activation needs);
- no normalisation between many expanding layers; a recurrent weight with a norm above one over many steps.

## How it is measured
For each layer on the way from the loss, the L2 norm of the gradient that arrives at its output. Reported when the
gradient at an early layer is at least 2^14 times what arrives at the output *and* the growth is a trend: at least four
steps, none of them more than half of it. CRITICAL from 2^20 on. A float16 overflows at 2^16; networks that train stay
far below. For each BatchNorm on the way a factor of 1.25 is taken off, which it adds whatever the weights are; waves
(`sin(30 * x)`) multiply by their frequency and train with Adam: INFO up to 2^24. Compared with the
gradient at the output, the size of the loss itself plays no part. Over time: the same of the first and last step.

## Example
    for layer in layers:
        nn.init.normal_(layer.weight)      # std 1 in a layer of width 256: factor 11 per layer

## What to do
`nn.init.kaiming_normal_` or `orthogonal_`, normalisation, residual connections; meanwhile
`torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Norm
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.trend_findings import over_depth, over_time
from gradclinic_engine.reading.depth_trend import growing
from gradclinic_engine.reading.time_profile import recurrences
from gradclinic_engine.records import Evidence, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

GROWN_BITS = 14.0
BROKEN_BITS = 20.0
# What a batch normalisation adds per layer, whatever the weights: a factor of 1.25.
USUAL_BITS_WITH_NORMS = 0.32
# As far as float32 resolves the updates of the first and last layer with one rate.
OF_WAVES_BITS = 24.0
REMEDIES = (
    "Initialise with `nn.init.kaiming_normal_` (ReLU) or `nn.init.xavier_normal_` (tanh), not with a fixed deviation.",
    "Add a normalisation (LayerNorm, BatchNorm) per layer, or skip connections with a small scale.",
    "Until then: `torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)` before the optimizer's step.",
)
REMEDIES_IN_TIME = ("Initialise the recurrent weight with `nn.init.orthogonal_`, or use a gated cell.", *REMEDIES[1:])


def _normalises(op: Op) -> bool:
    return op.norm in {Norm.BATCH, Norm.INSTANCE, Norm.GROUP}


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each stack of layers, and for each loop, along which the gradient explodes."""
    loops = [loop for loop in recurrences(paths) if -loop.decay >= GROWN_BITS]
    for trend in growing(paths, GROWN_BITS):
        bits = trend.lost_bits - USUAL_BITS_WITH_NORMS * trend.share_of(_normalises) * len(trend.profile.steps)
        if bits >= GROWN_BITS and not any(map(trend.runs_along, loops)):
            is_wave = bits < OF_WAVES_BITS and trend.share_of(lambda op: op.is_periodic) > 0.5  # noqa: PLR2004 - most of its layers
            compared = Evidence("gradient_first_to_output", 2.0**trend.lost_bits, threshold=2**GROWN_BITS)
            yield over_depth(RULE, trend, Severity.INFO if is_wave else _severity(bits), compared, REMEDIES)
    for loop in loops:
        yield over_time(RULE, loop, _severity(-loop.decay), GROWN_BITS, REMEDIES_IN_TIME)


def _severity(bits: float) -> Severity:
    return Severity.CRITICAL if bits >= BROKEN_BITS else Severity.WARNING


RULE = Rule("exploding-gradient", Symptom.EXPLODING, __doc__, check)
