"""Findings about a gradient that changes steadily, along depth or along time: what they say is alike for both ways."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradclinic_engine.judging.wording import listed, number
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclinic_engine.judging.rule import Rule
    from gradclinic_engine.reading.depth_trend import Trend
    from gradclinic_engine.reading.time_profile import Recurrence


@dataclass(frozen=True, slots=True)
class TrendFinding(Finding):
    """A finding about a stack of layers, with what the judgement compares it by."""

    decay_bits: Mapping[int, float] = field(default_factory=dict)  # log2 of the attenuation it describes, by site


def over_depth(rule: Rule, trend: Trend, severity: Severity, compared: Evidence, remedies: tuple[str, ...]) -> Finding:
    """A stack of layers, located at its first; ``compared`` is the measure that was judged."""
    first, last, source = (Location.of(site) for site in (trend.first, trend.last, trend.mechanism_site))
    steps, factor = len(trend.profile.steps), trend.factor_per_layer
    follows = (
        "Compared with the layers near the loss the early ones do not move at all."
        if rule.symptom is Symptom.VANISHING
        else "No learning rate suits both ends."
    )
    return TrendFinding(
        rule.code,
        rule.symptom,
        severity,
        first,
        f"From {last} back to {first} the gradient is multiplied by about {number(factor)} per layer, "
        f"{number(2.0**-trend.profile.decay)} over {steps} layers. The mechanism is {trend.mechanism}, beginning at "
        f"{source}. {follows}",
        remedies,
        evidence=(
            compared,
            Evidence("gradient_factor_per_layer", factor, text=f"mechanism: {trend.mechanism}, first at {source}"),
            Evidence("layers", steps + 1, "layers", text=f"from {first} to {last}"),
        ),
        affected=trend.affected,
        sites=(trend.first.index,),
        decay_bits=trend.profile.bits,
    )


def over_time(rule: Rule, loop: Recurrence, severity: Severity, bits: float, remedies: tuple[str, ...]) -> Finding:
    """A recurrent loop, located at its first weighted op; ``bits`` is the change from which on it is reported."""
    location = Location.of(loop.site)
    ratio, factor = 2.0**-loop.decay, 2.0 ** (-loop.decay / (loop.steps - 1))
    starved = tuple(parameter.name for parameter in loop.starved)
    follows = f" {listed(starved)} only feed the first step, and do not move." if starved else ""
    return rule.finding(
        severity,
        location,
        f"In the loop around {location} the gradient is multiplied by about {number(factor)} per time step, so that "
        f"the first of {loop.steps} steps gets {number(ratio)} times what the last one gets.{follows}",
        remedies,
        evidence=(
            Evidence("first_step_to_last_step", ratio, threshold=2.0 ** (-bits if loop.decay > 0 else bits)),
            Evidence("gradient_factor_per_step", factor),
        ),
        affected=starved or loop.site.parameters,
        sites=(loop.site.index,),
    )
