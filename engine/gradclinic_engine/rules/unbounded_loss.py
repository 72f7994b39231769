"""The loss has no lower bound: it falls forever, and what it rewards is not what you want.

## What it means
Training "works", the loss goes to minus infinity, and the predictions run away: they are pushed away from the targets,
or along one direction without end.

## Why it happens
- a sign turned round: a minus before an error, none before a log-likelihood or a similarity;
- an error without `abs` or square, so that too small is as good as it gets;
- `hinge_embedding_loss` of raw scores: it expects distances, which are never negative.

## How it is measured
For a loss within the model its value is followed backwards with its sign: squares, absolute values, norms and torch's
loss functions must be added, log-probabilities must be taken away. CRITICAL when every such part has the wrong sign,
INFO when only some have (adversarial losses do that on purpose). A product with something of both signs (advantages,
in policy gradients) is not judged, nor are raw scores alone (critics). WARNING for a plain difference of prediction and
target. A loss that is merely negative, such as that of a density, is fine.

## Example
    loss = -F.mse_loss(prediction, target)

## What to do
Turn the sign round, or put `abs()` or `square()` around the difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Growth
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.loss_places import place
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.reading.loss_reading import output_of, relevant
from gradclinic_engine.reading.loss_signs import parts
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.reading.loss_signs import Part
    from gradclinic_engine.reading.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding."""
    measurements = paths.measurements
    if measurements.loss.kind == "model":
        yield from _of_model(paths)
    for each in relevant(paths):
        if (
            each.name == "hinge_embedding_loss"
            and each.prediction.min < 0
            and any(v == 1 for v, _ in each.targets[-1].counts)
        ):
            output = output_of(paths, each)
            if output is None or op_of(output).growth is not Growth.DISTANCE:
                why = "`hinge_embedding_loss` rewards negative predictions for the label 1; it expects distances"
                yield _finding(paths, place(measurements, each), why, Severity.WARNING)


def _of_model(paths: Paths) -> Iterator[Finding]:
    found = parts(paths)
    wrong = [part for part in found if part.sign < 0]
    if wrong:
        severity = Severity.CRITICAL if len(wrong) == len(found) else Severity.INFO
        why = f"{wrong[0].site.op} stands in it with the wrong sign"
        yield _finding(paths, _at(wrong[0]), why, severity, (wrong[0].site.index,))
    elif found and all(part.is_linear for part in found) and any(part.met_data for part in found):
        why = "it is a plain difference of prediction and target, without `abs` or square"
        yield _finding(paths, _at(found[0]), why, Severity.WARNING)


def _at(part: Part) -> Location:
    return Location(module=part.site.module, name="loss", op=part.site.op, source=part.site.source)


def _finding(paths: Paths, location: Location, why: str, severity: Severity, sites: tuple[int, ...] = ()) -> Finding:
    return RULE.finding(
        severity=severity,
        location=location,
        explanation=f"The loss has no lower bound: {why}. It can always be made smaller by moving predictions "
        "further, so training drives them away instead of to the targets.",
        remedies=(
            "Check the sign: errors are added, log-probabilities and similarities are taken away.",
            "Put `abs()` or `square()` around a difference.",
        ),
        evidence=(Evidence("loss", paths.measurements.loss.value, text=why),),
        sites=sites,
    )


RULE = Rule("unbounded-loss", Symptom.LOSS, __doc__, check)
