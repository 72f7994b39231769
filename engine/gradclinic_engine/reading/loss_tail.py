"""The part of a model's own loss that comes after all of its parameters, and where that part stops the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import WITH_MARGIN
from gradclinic_engine.graph.op import Formula, Kind, Reduction
from gradclinic_engine.graph.site_ops import op_of, rectifies
from gradclinic_engine.measurements import GradientStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

# They can stop all gradient at once: multiplied by zero, clamped, masked, selected away.
_STOPPING = frozenset({Kind.LIMIT, Kind.REPLACING, Kind.LOOKUP, Kind.PART})
_FACTORS = frozenset({Formula.MULTIPLY, Formula.DIVIDE, Formula.REPAIR})
_REDUCTIONS = frozenset({Reduction.TOTAL, Reduction.EXTREME})
# They only gather, scale and add up losses of single samples.
_GATHERING_KINDS = frozenset({Kind.JOINING, Kind.LIMIT, Kind.LOOKUP, Kind.REPLACING})
_GATHERING = _FACTORS | {
    *(Formula.ADD, Formula.SUBTRACT, Formula.SUBTRACT_FROM, Formula.NEGATE, Formula.SQUARE_ROOT, Formula.POWER),
    *(Formula.SQUARE, Formula.RECTIFIER, Formula.ITEM),
}


def stops(paths: Paths) -> tuple[Site, ...]:
    """The operations of the loss at which all gradient ends; none while any parameter gets some.

    A loss that is flat because it has reached its minimum (a square at zero) is not meant: nothing stops there.
    """
    measured = paths.measurements
    if measured.loss.kind != "model" or any(p.status is GradientStatus.FLOWING for p in measured.parameters):
        return ()
    starved = [p for p in measured.parameters if p.status is GradientStatus.ZERO]
    found = {block.index: block for parameter in starved for block in paths.blocks(parameter)}
    if not starved or not found or not all(_belongs_to_loss(paths, site) and _stops(site) for site in found.values()):
        return ()
    return tuple(found[index] for index in sorted(found))


def empty_mean(paths: Paths) -> Site | None:
    """The operation that averages over nothing (an empty selection, or a mask whose sum is zero), if one does."""
    broken = [site for site in paths.sites.values() if site.nonfinite_order >= 0 and site.operands_finite]
    first = min(broken, key=lambda site: site.nonfinite_order, default=None)
    if first is None or paths.measurements.loss.kind != "model" or not _belongs_to_loss(paths, first):
        return None
    is_over_nothing = any(0 in operand.shape for operand in paths.operands(first))
    divides = op_of(first).formula is Formula.DIVIDE and first.culprit is not None
    is_zero_by_zero = divides and first.culprit is not None and first.culprit.operand_values == (0.0, 0.0)
    if is_zero_by_zero:
        below = [paths.sites[i] for i in first.arguments[1] if i in paths.sites] if len(first.arguments) > 1 else []
        is_zero_by_zero = bool(below) and not any(site.reached_by for site in below)
    return first if is_over_nothing or is_zero_by_zero else None


def _stops(site: Site) -> bool:
    op = op_of(site)
    if op.loss:
        return op.loss in WITH_MARGIN
    is_stopping = op.kind in _STOPPING or op.formula in _FACTORS or op.reduction in _REDUCTIONS
    return is_stopping or op.has_corners or op.off_margin == 0 or rectifies(site)


def _belongs_to_loss(paths: Paths, site: Site) -> bool:
    """Whether no parameter, no further prediction and no target comes in behind ``site``, only weights and counts."""
    behind = [paths.sites[index] for index in paths.downstream(site) if paths.reaches_loss(paths.sites[index])]
    if any(each.parameters for each in behind):
        return False
    return all(each is site or _only_gathers(each) for each in behind)


def _only_gathers(site: Site) -> bool:
    op = op_of(site)
    return op.hands_on or op.kind in _GATHERING_KINDS or op.formula in _GATHERING or op.reduction in _REDUCTIONS


def indices(sites: Iterable[Site]) -> tuple[int, ...]:
    """Their places in the program."""
    return tuple(site.index for site in sites)
