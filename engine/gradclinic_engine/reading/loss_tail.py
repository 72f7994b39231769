"""The part of a model's own loss that comes after all of its parameters, and where that part stops the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.loss_ops import LOSS_OPS, WITH_MARGIN
from gradclinic_engine.graph.op_kinds import plain, rectifies
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.loss_reading import HANDING_ON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

# They can stop all gradient at once: multiplied by zero, clamped, masked, selected away.
_STOPPING = frozenset(
    f"aten::{name}"
    for name in (
        *("mul", "where", "masked_fill", "masked_select", "masked_scatter", "index", "index_select", "gather"),
        *("clamp", "clamp_min", "clamp_max", "clip", "hardtanh", "relu", "relu6", "threshold", "maximum", "minimum"),
        *("max", "min", "nan_to_num", "div", "slice", "narrow", "sum", "mean", "index_put", "topk"),
    )
)
# They only gather, scale and add up losses of single samples.
_GATHERING = frozenset(
    f"aten::{name}"
    for name in (
        *(
            "sum",
            "mean",
            "nanmean",
            "nansum",
            "mul",
            "div",
            "true_divide",
            "add",
            "sub",
            "rsub",
            "neg",
            "sqrt",
            "stack",
        ),
        *("cat", "clamp", "clamp_min", "clamp_max", "clip", "relu", "max", "min", "maximum", "minimum", "where"),
        *("nan_to_num", "masked_fill", "masked_select", "index", "gather", "pow", "square", "threshold", "item"),
    )
) | {"prim::ListConstruct"}


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
    divides = plain(first.op) in ("aten::div", "aten::true_divide") and first.culprit is not None
    is_zero_by_zero = divides and first.culprit is not None and first.culprit.operand_values == (0.0, 0.0)
    if is_zero_by_zero:
        below = [paths.sites[i] for i in first.arguments[1] if i in paths.sites] if len(first.arguments) > 1 else []
        is_zero_by_zero = bool(below) and not any(site.reached_by for site in below)
    return first if is_over_nothing or is_zero_by_zero else None


def _stops(site: Site) -> bool:
    loss = LOSS_OPS.get(site.op)
    if loss is not None:
        return loss.name in WITH_MARGIN
    return plain(site.op) in _STOPPING or rectifies(site)


def _belongs_to_loss(paths: Paths, site: Site) -> bool:
    """Whether no parameter, no further prediction and no target comes in behind ``site``, only weights and counts."""
    behind = [paths.sites[index] for index in paths.downstream(site) if paths.reaches_loss(paths.sites[index])]
    if any(each.parameters for each in behind):
        return False
    return all(each is site or _only_gathers(each) for each in behind)


def _only_gathers(site: Site) -> bool:
    op = plain(site.op)
    return op in _GATHERING or op in HANDING_ON


def indices(sites: Iterable[Site]) -> tuple[int, ...]:
    """Their places in the program."""
    return tuple(site.index for site in sites)
