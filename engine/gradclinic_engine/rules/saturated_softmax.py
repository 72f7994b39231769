"""A softmax is one-hot because its logits are far too large, so that no gradient comes back through it.

## What it means
The derivative of a softmax is made of products of its probabilities: p_i (1 - p_i) and p_i p_j. When one of them is 1
and the others are 0, all of these are zero: queries, keys or logits before it cannot be changed any more.

## Why it happens
- attention scores without 1 / sqrt(d), or query and key weights that are far too large;
- a temperature that is too low; logits of a classifier that grew without bound;
- inputs of a large scale (pixels 0..255) that reach the logits.

## How it is measured
Softness: the mean over all rows of 1 - sum of squared probabilities, the trace of the derivative. It is 1 - 1/n for n
equal probabilities and 0 for a one-hot row. It follows exactly from the RMS of the output; inside a fused attention it
is computed from query and key, for a sample of the rows that may look at several keys. WARNING below 0.03, CRITICAL
below 0.0001 or when exactly zero goes on to a parameter. The same where hardly more than one of at least four
probabilities of a row is above zero: two equal ones make it look soft. Where a mask leaves few entries, one-hot rows
are as they should be: then the scores before the mask must also spread by more than 10. Not reported where no gradient
arrives, nor where the loss is at most 5 % of that of a constant guess.

## Example
    weights = torch.softmax(q @ k.transpose(1, 2), dim=-1)     # scores of ±400

## What to do
Scale the scores by 1 / sqrt(d), normalise queries and keys (or the logits) before it, raise the temperature, initialise
smaller. At the output, feed logits to `cross_entropy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed, number
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.convergence import has_converged
from gradclinic_engine.reading.one_hot import SOFT_ENOUGH, OneHot, one_hot
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

ALL_BUT_GONE = 1e-4


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each softmax that is one-hot."""
    if has_converged(paths.measurements):
        return
    for site in paths.sites.values():
        found = one_hot(paths, site)
        if found is not None:
            yield _finding(paths, site, found)


def _finding(paths: Paths, site: Site, found: OneHot) -> Finding:
    location, softness, scores = Location.of(site), found.softness, found.scores
    starved = paths.parameters_before(site, GradientStatus.ZERO)
    affected = starved or tuple(name for name in paths.feeding_parameters(site) if name in site.reached_by)
    lie = f" Its logits lie between {number(scores.min)} and {number(scores.max)}." if scores else ""
    spread = (Evidence("logit_deviation", found.deviation),) if scores else ()
    is_gone = softness < ALL_BUT_GONE or bool(starved)
    return RULE.finding(
        severity=Severity.CRITICAL if is_gone else Severity.WARNING,
        location=location,
        explanation=f"The softmax at {location} is one-hot: the mean of 1 - sum of squared probabilities is "
        f"{number(softness)}.{lie} Its derivative is {'zero' if is_gone else 'close to zero'} there, so "
        f"{listed(affected) or 'what is before it'} can hardly move.",
        remedies=(
            "Make the logits smaller: divide attention scores by sqrt(d), raise the temperature, initialise smaller.",
            "Normalise queries and keys (or what the logits are computed from) before the product.",
            "At the output, leave the softmax to the loss: feed logits to `cross_entropy`.",
        ),
        evidence=(Evidence("softness", softness, "1", SOFT_ENOUGH), *spread),
        affected=affected,
        sites=(site.index,),
    )


RULE = Rule("saturated-softmax", Symptom.ZERO_GRADIENT, __doc__, check)
