"""The units of a ReLU-like activation are off for every sample, so that no gradient passes them.

## What it means
A unit whose input is negative for the whole batch outputs zero, and its derivative is zero: the weights before it
get no gradient and cannot move it back. When all units of a layer are off, nothing before the layer learns.

## Why it happens
- a large negative bias, set by hand or reached by one update with too large a learning rate;
- inputs that are far from zero and all on one side, weights with one sign;
- a ReLU on the output of a network whose last layer starts out negative.

## How it is measured
For each ReLU, `clamp(min=0)`, `threshold` or `maximum(x, 0)`: the share of units (channels, features) that are zero
for every sample and position. CRITICAL when every value is zero, so that no gradient passes; WARNING from 90 % of
the units on (about half of a healthy ReLU's *values* are zero, but few of its units always are). With few units
chance can do that: a fair coin per unit must be able to explain it in less than one batch in a thousand, unless the
inputs lie more than ten standard deviations below zero or most of the network before it is cut off. A margin in the
model's own loss that every sample keeps is no dead unit.

## Example
    nn.init.constant_(layer.bias, -100.0)      # relu(layer(x)) is zero for every x

## What to do
Reset the bias to zero, initialise the weights with `nn.init.kaiming_normal_`, lower the learning rate, normalise
before the activation, or use an activation that leaks (`nn.LeakyReLU`, `nn.GELU`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import acting_op, rectifies
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed, number, share
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.chance import may_be_chance
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site, Statistics
    from gradclinic_engine.reading.paths import Paths

OFF_SHARE = 0.9  # the catalogue's


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each activation that is off."""
    for site in paths.sites.values():
        if (
            site.activation
            and site.activation.element_count
            and (rectifies(site) or acting_op(site).off_margin)
            and site.requires_grad
            and paths.reaches_loss(site)
        ):
            off = 1.0 if site.activation.zero_count == site.activation.element_count else site.dead_unit_share or 0.0
            if off < OFF_SHARE or _gets_nothing(paths, site) or _is_margin(paths, site):
                continue
            if not may_be_chance(paths, site, off):
                yield _finding(paths, site, off)


def _is_margin(paths: Paths, site: Site) -> bool:
    """Whether it is a margin in the model's own loss that every sample keeps: nothing suffers."""
    loss = paths.measurements.loss
    later = any(paths.sites[index].parameters for index in paths.downstream(site))
    suffers = bool(paths.parameters_before(site, GradientStatus.ZERO)) and loss.value != 0
    return loss.kind == "model" and not later and not suffers


def _gets_nothing(paths: Paths, site: Site) -> bool:
    """Whether its inputs are exactly zero: then it hands on what is wrong before it."""
    before = _inputs(paths, site)
    return before is not None and before.element_count == before.zero_count


def _inputs(paths: Paths, site: Site) -> Statistics | None:
    """Statistics of the values that it rectifies."""
    return next((each.activation for each in paths.operands(site) if each.activation and each.requires_grad), None)


def _finding(paths: Paths, site: Site, off: float) -> Finding:
    location = Location.of(site)
    before = _inputs(paths, site)
    inputs = (Evidence("largest_input", before.max, "1", 0.0), Evidence("mean_input", before.mean)) if before else ()
    follow = paths.downstream(site)
    starved = [p.name for p in paths.with_status(GradientStatus.ZERO) if not follow.isdisjoint(p.read_by)]
    stuck = (
        [*paths.parameters_before(site, GradientStatus.ZERO), *starved] if off == 1 else paths.feeding_parameters(site)
    )
    layer = (paths.feeding_parameters(site) or ("layer.bias",))[-1].rpartition(".")[0]
    all_off = "No gradient passes it" if off == 1 else "What is before those units gets no gradient through them"
    lie = f" Its inputs lie between {number(before.min)} and {number(before.max)}." if before else ""
    return RULE.finding(
        severity=Severity.CRITICAL if off == 1 else Severity.WARNING,
        location=location,
        explanation=f"{share(off)} of the units of {location} are zero for every sample of the batch.{lie} {all_off}, "
        f"so {listed(list(dict.fromkeys(stuck))) or 'what is before it'} cannot move them back.",
        remedies=(
            f"Reset the bias of the layer before it: `nn.init.zeros_({layer}.bias)`.",
            "Put a normalisation (BatchNorm, LayerNorm) before the activation, and lower the learning rate.",
            "Use an activation that leaks: `nn.LeakyReLU(0.01)` or `nn.GELU()`.",
        ),
        evidence=(Evidence("off_share", off, "1", OFF_SHARE), *inputs),
        affected=tuple(dict.fromkeys(stuck)),
        sites=(site.index,),
    )


RULE = Rule("dead-relu", Symptom.ZERO_GRADIENT, __doc__, check)
