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
together with the gradient, the gradient at the output stands for the best layer. Over time: WARNING when the first
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

from gradclinic_worker.depth_trend import Trend, fading
from gradclinic_worker.finding import Evidence, Finding, Location, Severity, Symptom
from gradclinic_worker.rules.rule import Rule
from gradclinic_worker.time_profile import Recurrence, recurrences
from gradclinic_worker.tiny_run import TinyRun
from gradclinic_worker.wording import listed, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_worker.measurements import Measurements

LOST_BITS = 17.0  # the 24 bits of a float32, less the 7 bits of a step of 1 %
HOPELESS_BITS = 24.0
LOST_IN_TIME_BITS = 40.0


def check(measurements: Measurements) -> Iterator[Finding]:
    """One finding for each stack of layers, and for each loop, along which the gradient vanishes."""
    for trend in fading(measurements, LOST_BITS, HOPELESS_BITS):
        yield _over_depth(trend)
    for loop in recurrences(measurements):
        if loop.decay >= LOST_IN_TIME_BITS or (loop.starved and loop.decay >= LOST_BITS):
            yield _over_time(loop)


def _over_depth(trend: Trend) -> Finding:
    first, last = Location.of(trend.first), Location.of(trend.last)
    layers = len(trend.profile.steps)
    source = Location.of(trend.mechanism_site)
    return Finding(
        code=RULE.code,
        symptom=RULE.symptom,
        severity=Severity.CRITICAL if trend.lost_bits >= HOPELESS_BITS else Severity.WARNING,
        location=first,
        explanation=f"From {last} back to {first} the gradient is multiplied by about {number(trend.factor_per_layer)} per "
        f"layer, {number(2**-trend.profile.decay)} over {layers} layers. The mechanism is {trend.mechanism}, beginning "
        f"at {source}. Compared with the layers near the loss the early ones do not move at all.",
        remedies=(
            "Use ReLU or GELU inside the stack, with `nn.init.kaiming_normal_(weight, nonlinearity='relu')` and zero bias.",
            "Add skip connections (`x + block(x)`) or a normalisation (LayerNorm, BatchNorm) per layer.",
            "Make it shallower.",
        ),
        evidence=(
            Evidence("relative_gradient_first_to_best", 2**-trend.lost_bits, "1", 2**-LOST_BITS),
            Evidence("gradient_factor_per_layer", trend.factor_per_layer, text=f"mechanism: {trend.mechanism} at {source}"),
            Evidence("layers", layers + 1, "layers", text=f"from {first} to {last}"),
        ),
        affected=trend.affected,
        sites=(trend.first.index,),
        decay_bits=trend.profile.bits,
    )


def _over_time(loop: Recurrence) -> Finding:
    location, factor = Location.of(loop.site), 2 ** (-loop.decay / (loop.steps - 1))
    severity = Severity.INFO if loop.gated else Severity.WARNING
    lost = "what happened early cannot be learned from"
    if loop.starved:
        severity = Severity.CRITICAL if loop.starved_bits >= HOPELESS_BITS else Severity.WARNING
        lost = f"{listed([parameter.name for parameter in loop.starved])}, which feed the first step only, do not move"
    return Finding(
        code=RULE.code,
        symptom=RULE.symptom,
        severity=severity,
        location=location,
        explanation=f"In the loop around {location} the gradient is multiplied by about {number(factor)} per time step, so "
        f"that the first of {loop.steps} steps gets {number(2**-loop.decay)} of the last one's: {lost}.",
        remedies=(
            "Use a gated cell (`nn.LSTM`, `nn.GRU`) with a forget-gate bias of 1 or more, or attention over the steps.",
            "Initialise the recurrent weight with `nn.init.orthogonal_`.",
        ),
        evidence=(Evidence("first_step_to_last_step", 2**-loop.decay, "1", 2**-LOST_IN_TIME_BITS),),
        affected=tuple(parameter.name for parameter in loop.starved) or loop.site.parameters,
        sites=(loop.site.index,),
    )


def _healthy() -> Iterator[Measurements]:
    yield TinyRun.stack("aten::relu", depth=8, gain=0.4)  # default initialisation
    yield TinyRun.stack("aten::gelu", depth=40, gain=0.9)


def _sick() -> Iterator[Measurements]:
    yield TinyRun.stack("aten::sigmoid", depth=30, gain=0.15)
    yield TinyRun.stack("aten::tanh", depth=16, gain=0.3)
    run = TinyRun()
    step = run.op("aten::linear", "x", module="cell", weights=["cell.weight"], calls=50)
    run.amend(step, gradient_rms_by_call=tuple(0.5**age for age in range(49, -1, -1)))
    yield run.finish(run.op("aten::linear", step, module="head", weights=["head.weight"]))


RULE = Rule("vanishing-gradient", Symptom.VANISHING, __doc__, check, _healthy, _sick)
