"""A dropout layer removes nearly everything that passes it.

## What it means
With p = 0.95 one value in twenty is left, multiplied by twenty. Each step sees another small, noisy piece of the
layer, and the gradient is mostly noise. With p = 1 nothing is left at all: that is `zero-multiplier`.

## Why it happens
- the argument was meant as the share to keep, as older frameworks have it: `Dropout(0.9)` drops 90 %;
- a search over hyperparameters, or a percentage (`50`) that was clipped.

## How it is measured
The probability that the operation was called with, in training mode. WARNING from 0.9 on; common values lie between
0.05 and 0.6, and 0.8 is used on inputs. The noise it adds to a value is sqrt(p / (1 - p)) times the value: 1 at 0.5,
3 at 0.9.

## Example
    nn.Dropout(0.95)       # meant: keep 95 %

## What to do
`nn.Dropout(0.1)` to `nn.Dropout(0.5)`. If you meant to keep 95 %, write `nn.Dropout(0.05)`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import number, share
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

EXCESSIVE = 0.9


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each place that drops nearly everything."""
    seen: set[tuple[str, int]] = set()
    for site in paths.measurements.sites:
        probability = dropped(site) if site.calls and not site.output else 0.0
        place = (site.module, site.source.line if site.source else site.index)
        if EXCESSIVE <= probability < 1 and place not in seen:
            seen.add(place)
            yield _finding(site, probability)


def dropped(site: Site) -> float:
    """The share that it drops in this run; 0 for what is no dropout, or is switched off."""
    probability, flag = op_of(site).dropout
    value = site.constants.get(probability)
    is_on = not flag or site.constants.get(flag) is True
    return float(value) if is_on and isinstance(value, (int, float)) else 0.0


def _finding(site: Site, probability: float) -> Finding:
    location = Location.of(site)
    noise = math.sqrt(probability / (1 - probability))
    return RULE.finding(
        Severity.WARNING,
        location,
        f"{location} drops {share(probability)} of its values: the noise that this adds is {number(noise)} times as "
        "large as the values themselves, and so is that of the gradient.",
        (
            f"Use a rate of 0.1 to 0.5. If {share(probability)} was meant to be kept, write {1 - probability:.2g}.",
            "Where so much dropout is wanted, average over several passes.",
        ),
        evidence=(Evidence("drop_probability", probability, "1", EXCESSIVE),),
        sites=(site.index,),
    )


RULE = Rule("excessive-dropout", Symptom.MODE, __doc__, check)
