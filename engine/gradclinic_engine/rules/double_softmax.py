"""A softmax or sigmoid stands before a loss that applies it again.

## What it means
`cross_entropy` and `binary_cross_entropy_with_logits` take raw scores. Given probabilities, which lie between 0 and 1,
they see scores that hardly differ: the loss cannot get near zero, and the gradient through the extra softmax is small
and vanishes where the model is sure, also where it is surely wrong.

## Why it happens
- a Softmax or Sigmoid as the last layer, as other frameworks and older losses want it;
- `predict` code that is also used for training.

## How it is measured
The prediction that such a loss gets is the output of a softmax, a sigmoid or a hardsigmoid (views, casts, clamps and
selections looked through), or it is at least 0 everywhere and sums to 1 along the classes, however that was computed.
Also a softmax or sigmoid right after another one. log_softmax before `cross_entropy` changes nothing and is not
reported.

## Example
    model = nn.Sequential(body, nn.Softmax(dim=1))
    loss = F.cross_entropy(model(x), labels)

## What to do
Remove the last softmax or sigmoid from what is trained; apply it where you read predictions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import OF_LOGITS, class_dimension
from gradclinic_engine.graph.op import Squash
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.reading.loss_reading import origin, output_of, relevant
from gradclinic_engine.reading.squashing import behind_clamps, squashes
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import LossTerm, Site
    from gradclinic_engine.reading.paths import Paths


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each output that is squashed twice."""
    told: set[int] = set()
    last: set[int] = set()
    for each in relevant(paths):
        output = output_of(paths, each)
        last.add(output.index if output is not None else -1)
        if each.name not in OF_LOGITS or output is None:
            continue
        is_computed = output.requires_grad and not op_of(output).is_layer  # a one-hot choice is not squashed
        if squashes(paths, output) or (is_computed and _is_distribution(each)):
            told.add(output.index)
            yield _finding(behind_clamps(paths, output), f"`{each.name}`, which applies it itself")
    for site in paths.sites.values():
        if op_of(site).squash is not Squash.NONE and paths.reaches_loss(site) and site.arguments:
            before = [each for each in site.arguments[0] if isinstance(each, int)]
            output = origin(paths, paths.sites[before[0]]) if len(before) == 1 and before[0] in paths.sites else None
            inner = squashes(paths, output) if output is not None and output.index not in told else ""
            if output is not None and (inner == _kind(site) or (inner and site.index in last)):
                told.add(output.index)
                yield _finding(output, f"another one ({site.op})")


def _kind(site: Site) -> str:
    return "sigmoid" if op_of(site).squash in {Squash.SIGMOID, Squash.LOG_SIGMOID} else "softmax"


def _is_distribution(called: LossTerm) -> bool:
    """Whether the prediction is non-negative and sums to one along the classes."""
    got = called.prediction
    return len(got.shape) > 1 and class_dimension(called.name, len(got.shape)) in got.probability_dims


def _finding(output: Site, goes_into: str) -> Finding:
    location = Location.of(output)
    low, high = (output.activation.min, output.activation.max) if output.activation else (0.0, 1.0)
    return RULE.finding(
        severity=Severity.WARNING,
        location=location,
        explanation=f"The probabilities that {location} gives go into {goes_into}. Squashed twice, scores hardly "
        "differ: the loss stays far from zero and the gradient is small, most of all where the model is surely wrong.",
        remedies=(
            "Remove this softmax or sigmoid from what is trained, and hand the raw scores to the loss.",
            "Or use a loss that takes probabilities: `nll_loss` of their logarithm, `binary_cross_entropy`.",
        ),
        evidence=(Evidence("largest_prediction", high, "1", 1.0), Evidence("smallest_prediction", low, "1", 0.0)),
        sites=(output.index,),
    )


RULE = Rule("double-softmax", Symptom.LOSS, __doc__, check)
