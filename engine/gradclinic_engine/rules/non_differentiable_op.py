"""An operation that has no derivative cuts the only way from the loss to parameters.

## What it means
The result of the operation is an index, a count, a yes/no or a Python number: it jumps where its input moves,
so there is no derivative and autograd ends there. Everything before it gets no gradient (`grad is None`).

## Why it happens
- `argmax`, `argsort`, `topk` indices, `multinomial`, `unique`, `searchsorted` used as if they were soft choices;
- a comparison (`x > 0.5`), `.long()`, `.int()`, `one_hot` on something that was computed from parameters;
- `.item()`, `int(x)`, `float(x)`: a Python number has no graph;
- an operation whose backward torch does not have (`heaviside`, `//`): then the backward pass raises.

## How it is measured
As `detached-graph`: from every trainable parameter whose gradient is None all ways to the loss are followed
up to the first operation whose operand requires a gradient and whose result does not. If the backward pass
raised "derivative ... is not implemented", the operation that torch names is looked up in the program. There
is no threshold. Indices beside a way that does carry the gradient (hard attention masks, metrics,
straight-through estimators) are not reported.

## Example
    tokens = self.encoder(x).argmax(-1)      # integers: no derivative
    return self.head(self.embedding(tokens))

## What to do
Use a soft version while training (softmax instead of argmax, sigmoid instead of a comparison), a
straight-through estimator, `torch.nn.functional.gumbel_softmax(hard=True)`, or a score-function loss.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.severed_paths import Means, severed_paths
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements, Site
    from gradclinic_engine.reading.paths import Paths

NOT_IMPLEMENTED = re.compile(r"derivative for '?(?:aten::)?(\w+)'? is not implemented")
SOFT_VERSIONS = {
    Formula.LARGEST_PLACE: "Replace `argmax` by a weighted sum, for example `softmax(scores / temperature) @ values`.",
    Formula.ITEM: "Keep it a tensor: drop `.item()`, `float(x)` or `int(x)`.",
    Formula.ONE_HOT: "Feed the probabilities instead of `one_hot(argmax)`, or `gumbel_softmax(scores, hard=True)`.",
    Formula.FLOOR_DIVIDE: "Use `/` and keep the fraction; round only what no gradient has to pass.",
}
STRAIGHT_THROUGH = "Pass the gradient straight through: `y = soft + (hard - soft).detach()`."


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each op that cuts, and one for the op whose backward torch does not have."""
    measurements = paths.measurements
    for severed in severed_paths(paths):
        if severed.means is Means.NON_DIFFERENTIABLE:
            yield _finding(severed.site, severed.parameters, "gives a result without a derivative")
    named = NOT_IMPLEMENTED.search(measurements.loss.backward_error)
    if named:
        yield from _refused_backward(measurements, named[1])


def _refused_backward(measurements: Measurements, name: str) -> Iterator[Finding]:
    for site in reversed(measurements.sites):
        if site.calls and site.requires_grad and op_of(site).name.rpartition("::")[2] == name.rstrip("_"):
            without = [p.name for p in measurements.parameters if p.status is not GradientStatus.FROZEN]
            affected = tuple(parameter for parameter in without if parameter in site.reached_by)
            yield _finding(site, affected, "has no derivative in torch, so that the backward pass raises")
            return


def _finding(site: Site, affected: tuple[str, ...], fault: str) -> Finding:
    location = Location.of(site)
    soft = SOFT_VERSIONS.get(op_of(site).formula)
    return RULE.finding(
        severity=Severity.CRITICAL,
        location=location,
        explanation=f"The operation at {location} {fault} ({site.dtype}). Every way from the loss to "
        f"{listed(affected)} passes through it, so they cannot learn.",
        remedies=(*((soft,) if soft else ()), STRAIGHT_THROUGH, "Train what comes before it with a loss of its own."),
        evidence=(Evidence("parameters_without_gradient", len(affected), "parameters", 0),),
        affected=affected,
        sites=(site.index,),
    )


RULE = Rule("non-differentiable-op", Symptom.NO_GRADIENT, __doc__, check)
