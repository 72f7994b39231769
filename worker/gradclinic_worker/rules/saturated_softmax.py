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
below 0.0001 or when exactly zero goes on to a parameter. Where a mask leaves few entries, one-hot rows are as they
should be: then the scores before the mask must also spread by more than 10. Not reported where no gradient arrives, nor
where the loss is at most 5 % of that of a constant guess.

## Example
    weights = torch.softmax(q @ k.transpose(1, 2), dim=-1)     # scores of ±400

## What to do
Scale the scores by 1 / sqrt(d), normalise queries and keys (or the logits) before it, raise the temperature, initialise
smaller. At the output, feed logits to `cross_entropy`.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import TYPE_CHECKING

from gradclinic_worker.judging.finding import Evidence, Finding, Location, Severity, Symptom
from gradclinic_worker.judging.rule import Rule
from gradclinic_worker.judging.tiny_run import TinyRun, statistics
from gradclinic_worker.judging.wording import listed, number
from gradclinic_worker.measurements import GradientStatus
from gradclinic_worker.reading.convergence import has_converged
from gradclinic_worker.reading.op_kinds import plain
from gradclinic_worker.reading.paths import Paths
from gradclinic_worker.reading.zero_stops import gets_gradient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_worker.measurements import Measurements, Site, Statistics

SOFT_ENOUGH = 0.03
ALL_BUT_GONE = 1e-4
WIDE_SCORES = 10.0
MASKING = frozenset({"aten::add", "aten::masked_fill", "aten::where", "aten::sub"})
MASKS_FOLLOWED = 4


def check(measurements: Measurements) -> Iterator[Finding]:
    """One finding for each softmax that is one-hot."""
    if has_converged(measurements):
        return
    paths = Paths(measurements)
    for site in paths.sites.values():
        softness = _softness(site)
        if softness is None or softness >= SOFT_ENOUGH or not site.requires_grad or not gets_gradient(site):
            continue
        scores, is_masked = _before_masks(paths, site)
        if not is_masked or (scores is not None and _deviation(scores) > WIDE_SCORES):
            yield _finding(paths, site, softness, scores)


def _softness(site: Site) -> float | None:
    """Mean over the rows of 1 - sum of squared probabilities; None where it is not known, or rows have one element."""
    if site.softness is not None or plain(site.op) not in ("aten::softmax", "aten::_softmax"):
        return site.softness
    dimension, output = site.constants.get("dim"), site.activation
    if not isinstance(dimension, int) or output is None or output.nonfinite or not output.count:
        return None
    if not -len(site.shape) <= dimension < len(site.shape) or site.shape[dimension] < 2:  # noqa: PLR2004 - a choice
        return None
    softness = 1 - output.rms**2 * site.shape[dimension]
    same_shape_at_every_call = output.count == site.calls * prod(site.shape)
    return max(0.0, softness) if same_shape_at_every_call and softness > -ALL_BUT_GONE else None


def _before_masks(paths: Paths, softmax: Site) -> tuple[Statistics | None, bool]:
    """The scores before anything fixed was added to them or put in their place, and whether that was so."""
    if softmax.softness is not None:  # masked keys were left out when it was measured
        return None, False
    held, is_masked = softmax.arguments[:1], False
    for _ in range(MASKS_FOLLOWED):
        atoms = [paths.base(atom) for group in held for atom in group]
        learnt = [a for a in atoms if isinstance(a, int) and a in paths.sites and paths.sites[a].requires_grad]
        if len(learnt) != 1:
            return None, is_masked
        site = paths.sites[learnt[0]]
        fixed_operands = [each for group in site.arguments for each in group if each not in _learnt(paths, site)]
        if plain(site.op) not in MASKING or not fixed_operands:
            return site.activation, is_masked
        held, is_masked = site.arguments, True
    return None, is_masked


def _learnt(paths: Paths, site: Site) -> set[int | str]:
    atoms = {atom for group in site.arguments for atom in group}
    return {
        atom
        for atom in atoms
        if (atom in paths.sites and paths.sites[atom].requires_grad if isinstance(atom, int) else "parameter:" in atom)
    }


def _deviation(scores: Statistics) -> float:
    return sqrt(max(scores.rms**2 - scores.mean**2, 0.0))


def _finding(paths: Paths, site: Site, softness: float, scores: Statistics | None) -> Finding:
    location = Location.of(site)
    starved = paths.parameters_before(site, GradientStatus.ZERO)
    affected = starved or tuple(name for name in paths.feeding_parameters(site) if name in site.reached_by)
    lie = f" Its logits lie between {number(scores.min)} and {number(scores.max)}." if scores else ""
    spread = (Evidence("logit_deviation", _deviation(scores)),) if scores else ()
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


def _healthy() -> Iterator[Measurements]:
    run = TinyRun()
    logits = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    yield run.finish(run.op("aten::softmax", logits, constants={"dim": -1}, activation=statistics(0.2)))


def _sick() -> Iterator[Measurements]:
    one_hot = statistics(sqrt(1 / 8), min=0.0, max=1.0)
    run = TinyRun()
    logits = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], activation=statistics(400.0))
    yield run.finish(run.op("aten::softmax", logits, constants={"dim": -1}, activation=one_hot))
    run = TinyRun()
    query = run.op("aten::linear", "x", module="q", weights=["q.weight"])
    yield run.finish(run.op("aten::scaled_dot_product_attention", query, query, "x", softness=0.002))


RULE = Rule("saturated-softmax", Symptom.ZERO_GRADIENT, __doc__, check, _healthy, _sick)
