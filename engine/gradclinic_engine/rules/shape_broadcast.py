"""Prediction and target have different shapes and are silently spread out against each other.

## What it means
A prediction `[N, 1]` minus a target `[N]` is a matrix `[N, N]`: every sample is compared with the target of every
other one. The best the model can do is to predict the mean of all targets, and the loss looks quite normal.

## Why it happens
- the head gives `[N, 1]` and the labels are `[N]`, or one of them was squeezed and the other not;
- masks `[N, H, W]` against scores `[N, 1, H, W]`, per-sample weights `[N]` against a loss `[N, 1]`.

## How it is measured
For a loss that compares element by element: the shapes of prediction and target differ (a target of one element, meant
for all, is left out). Within the model: two operands with the same number of elements, of different shapes, give a
result with more elements, and nothing placed their dimensions on purpose (`unsqueeze`, `None`), or one of them is a
parameter-free target or weight. CRITICAL when samples are compared across, WARNING when one target serves several
outputs.

## Example
    loss = F.mse_loss(self.head(x), y)      # head(x) is [32, 1], y is [32]

## What to do
`self.head(x).squeeze(1)` or `y.unsqueeze(1)`; compare the shapes with an explicit check before the loss.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import ELEMENTWISE
from gradclinic_engine.graph.op import Dimensions, Formula, Kind
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.judging.loss_places import place
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.reading.loss_reading import relevant, shape_of
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

ARRANGING = frozenset({Kind.RESHAPING, Kind.PERMUTATION, Kind.EXPANSION, Kind.UNIT_DIMENSION})


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for the request's loss, and one for each operation within the model."""
    for each in relevant(paths):
        got, target = each.prediction.shape, each.targets[-1].shape
        if each.name in ELEMENTWISE and not each.error and got != target and min(math.prod(got), math.prod(target)) > 1:
            together = broadcast(got, target)
            if together is not None and math.prod(together) > min(math.prod(got), math.prod(target)):
                yield _finding(place(paths.measurements, each), got, target, together)
    for site in paths.sites.values():
        if op_of(site).broadcasts and site.requires_grad and paths.reaches_loss(site):
            operands = _operands(site)
            shapes = [shape_of(paths, operand) for operand in operands]
            if len(operands) == 2 and shapes[0] and shapes[1] and _is_accident(paths, operands, shapes[0], shapes[1]):  # noqa: PLR2004 - operands
                yield _finding(_where(site), shapes[0], shapes[1], broadcast(shapes[0], shapes[1]) or ())


def _where(site: Site) -> Location:
    """The loss, where torch's own loss functions do the broadcasting."""
    if op_of(site).formula is not Formula.BROADCAST:
        return Location.of(site)
    return Location(module=site.module, name="loss", op=site.op, source=site.source)


def _operands(site: Site) -> list[int | str]:
    if op_of(site).formula is Formula.BROADCAST:
        return list(site.arguments[0]) if site.arguments else []
    found = [each[0] for each in site.arguments[:2] if len(each) == 1]
    return found if len(found) == sum(bool(each) for each in site.arguments[:2]) else []


def _is_accident(paths: Paths, operands: list[int | str], one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    if one == other or math.prod(one) != math.prod(other):
        return False
    together = broadcast(one, other)
    if together is None or math.prod(together) <= math.prod(one):
        return False
    sites = [paths.sites.get(each) if isinstance(each, int) else None for each in operands]
    placed = any(site is not None and _places(op_of(site)) for site in sites)
    learnt = [site is not None and bool(site.reached_by) for site in sites]
    if learnt[0] != learnt[1]:  # a prediction and a target: with the same rank, somebody placed both on purpose
        return len(one) != len(other) or not placed
    return all(learnt) and not placed


def _places(op: Op) -> bool:
    """Whether it places or moves dimensions on purpose; broadcasting itself, and what takes some away, does not."""
    return (
        op.kind in ARRANGING
        and op.dimensions not in {Dimensions.JOINED, Dimensions.REMOVED}
        and op.formula is not Formula.BROADCAST
    )


def broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of both together; None where they do not go together."""
    rank = max(len(one), len(other))
    pairs = zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True)
    sizes = [(max(pair) if 1 in pair or pair[0] == pair[1] else None) for pair in pairs]
    return tuple(size for size in sizes if size is not None) if None not in sizes else None


def _finding(location: Location, one: tuple[int, ...], other: tuple[int, ...], together: tuple[int, ...]) -> Finding:
    across = math.prod(together) > max(math.prod(one), math.prod(other))
    return RULE.finding(
        severity=Severity.CRITICAL if across else Severity.WARNING,
        location=location,
        explanation=f"{list(one)} and {list(other)} are spread out to {list(together)}. "
        + (
            "Every sample is compared with what belongs to all others, so the model can only learn their mean."
            if across
            else "One value is compared with several outputs, which cannot all be meant."
        ),
        remedies=(
            "Bring both to one shape: `prediction.squeeze(1)` or `target.unsqueeze(1)`.",
            "Check `prediction.shape == target.shape` before the loss.",
        ),
        evidence=(
            Evidence("elements_compared", math.prod(together), "elements", min(math.prod(one), math.prod(other))),
        ),
    )


RULE = Rule("shape-broadcast", Symptom.LOSS, __doc__, check)
