"""The gradient shrinks by a factor per layer (or per time step), until the early ones get next to nothing.

## What it means
Each layer multiplies the gradient on its way back. Where these factors are below one the early layers' updates
are lost: relative to their weights they are smaller than what a float32 can add.

## Why it happens
- a stack of sigmoid (slope at most 0.25) or tanh layers, or of layers that are initialised too small;
- no skip connections and no normalisation in a deep network; a plain recurrent cell over many steps.

## How it is measured
For each layer on the way from the loss, the L2 norm of the gradient that arrives at its output; for each weight its
relative gradient, RMS(gradient) / RMS(weight). Reported when a weight's relative gradient is below 2^-17 of that of
the second best layer on its way *and* the decay is a trend: at least four steps, none more than half of it. float32
keeps 24 bits: where the best layers move by as much as 2^-7 (1 %) per step, an update below 2^-24 of the weight is
rounded away. CRITICAL below 2^-24, where that holds for steps as large as the weights. Where activations shrink
together with the gradient, the gradient at the output is compared instead. Over time: WARNING when the first
step of a loop gets less than 2^-40 of the last one's gradient (INFO for cells with gates, which can learn to keep it);
the cell's own weights still learn, from the late steps. Weights that only feed the first step are judged as layers are.
One weak step alone, such as a small residual scale, is no trend; a loss scaled by 1e-6 changes nothing.

## Example
    nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.Sigmoid()) for _ in range(30)])

## What to do
ReLU or GELU with `nn.init.kaiming_normal_`, residual connections, normalisation; gates (LSTM, GRU) over time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.trend_findings import over_depth, over_time
from gradclinic_engine.reading.depth_trend import fading
from gradclinic_engine.reading.time_profile import Recurrence, recurrences
from gradclinic_engine.records import Evidence, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

LOST_BITS = 17.0  # the 24 bits of a float32, less the 7 bits of a step of 1 %
HOPELESS_BITS = 24.0
LOST_IN_TIME_BITS = 40.0
REMEDIES = (
    "Use ReLU or GELU inside the stack, with `nn.init.kaiming_normal_(weight)` and zero bias.",
    "Add skip connections (`x + block(x)`) or a normalisation (LayerNorm, BatchNorm) per layer.",
    "Make it shallower.",
)
REMEDIES_IN_TIME = (
    "Use a gated cell (`nn.LSTM`, `nn.GRU`) with a forget-gate bias of 1 or more, or attention over the steps.",
    "Initialise the recurrent weight with `nn.init.orthogonal_`.",
)


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each stack of layers, and for each loop, along which the gradient vanishes."""
    for trend in fading(paths, LOST_BITS, HOPELESS_BITS):
        severity = Severity.CRITICAL if trend.lost_bits >= HOPELESS_BITS else Severity.WARNING
        compared = Evidence("relative_gradient_first_to_best", 2**-trend.lost_bits, threshold=2**-LOST_BITS)
        yield over_depth(RULE, trend, severity, compared, REMEDIES)
    for loop in recurrences(paths):
        if loop.decay >= (LOST_BITS if loop.starved else LOST_IN_TIME_BITS):
            yield over_time(RULE, loop, _severity_in_time(loop), LOST_IN_TIME_BITS, REMEDIES_IN_TIME)


def _severity_in_time(loop: Recurrence) -> Severity:
    if loop.starved:
        return Severity.CRITICAL if loop.starved_bits >= HOPELESS_BITS else Severity.WARNING
    return Severity.INFO if loop.gated else Severity.WARNING


RULE = Rule("vanishing-gradient", Symptom.VANISHING, __doc__, check)
