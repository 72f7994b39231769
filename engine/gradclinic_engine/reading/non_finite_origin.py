"""Where NaN and infinity come from: the first op that makes them, forward or on the way back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Kind
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.measurements import GradientStatus

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Culprit, Site, Tensor
    from gradclinic_engine.reading.paths import Paths


def is_broken(paths: Paths) -> bool:
    """Whether the loss or some parameter's gradient is NaN or infinite."""
    return not math.isfinite(paths.measurements.loss.value) or bool(spoiled(paths))


def spoiled(paths: Paths) -> tuple[str, ...]:
    """Names of the parameters whose gradient is NaN or infinite."""
    return tuple(
        parameter.name for parameter in paths.measurements.parameters if parameter.status is GradientStatus.NON_FINITE
    )


def forward_origin(paths: Paths) -> Site | None:
    """The first op before the loss that made a NaN or infinity nobody asked for; None where all were brought in.

    Infinities that a mask writes (`masked_fill(mask, -inf)`) are asked for, also when they are added to scores. What
    turns them into NaN, such as the softmax of a row that is masked as a whole, is an origin.
    """
    bad = sorted(
        (site for site in paths.sites.values() if site.nonfinite_order >= 0 and paths.reaches_loss(site)),
        key=lambda site: site.nonfinite_order,
    )
    asked_for: set[int] = set()
    for site in bad:
        brought = [operand for operand in _valued_operands(paths, site) if operand.nonfinite_order >= 0]
        from_outside = [tensor.culprit for tensor in _tensors_read(paths, site) if tensor.statistics.nonfinite_count]
        only_masks = all(operand.index in asked_for for operand in brought) and all(map(_is_infinite, from_outside))
        if not only_masks:
            continue
        carried = bool(brought or from_outside)
        if _is_infinite(site.culprit) and (carried or _writes_numbers(site)):
            asked_for.add(site.index)
        elif carried or site.operands_finite:
            return site
    return next((site for site in bad if site.index in asked_for), None)


def _writes_numbers(site: Site) -> bool:
    """Whether it writes numbers that the author gave, infinities among them, as masks do."""
    op = op_of(site)
    return op.rewraps or op.kind is Kind.REPLACING or (op.kind is Kind.CREATION and not op.is_uninitialized)


def backward_origin(paths: Paths) -> tuple[Site | None, Culprit | None] | None:
    """The first op, on the way back, that turned a finite gradient into NaN or infinity.

    Returns:
        The op and the first bad element of what it handed on; the op is None where the loss itself did it;
        None where every gradient is finite.
    """
    bad = sorted(
        (site for site in paths.sites.values() if site.gradient and site.gradient.nonfinite_count),
        key=lambda site: site.gradient_order,
    )
    for site in bad:
        readers = _valued_readers(paths, site)
        makers = [reader for reader in readers if reader.gradient and not reader.gradient.nonfinite_count]
        if makers and len(makers) == sum(1 for reader in readers if reader.gradient):
            return _likeliest(makers), site.gradient_culprit
        if site.index in paths.outputs and not any(
            reader.gradient and reader.gradient.nonfinite_count for reader in readers
        ):
            return None, site.gradient_culprit
    for parameter in paths.measurements.parameters:
        if parameter.status is GradientStatus.NON_FINITE:
            readers = [reader for first in paths.first_readers(parameter) for reader in _through_views(paths, first)]
            makers = [reader for reader in readers if reader.gradient and not reader.gradient.nonfinite_count]
            if makers:
                return _likeliest(makers), None
    return None


def _likeliest(makers: list[Site]) -> Site:
    singular = [site for site in makers if op_of(site).is_singular]
    return min(singular or makers, key=lambda site: site.gradient_order)


def _valued_operands(paths: Paths, site: Site) -> list[Site]:
    """The operands of ``site``; in place of views that have no statistics of their own, what they are views of."""
    found: list[Site] = []
    waiting = list(paths.operands(site))
    seen: set[int] = set()
    while waiting:
        operand = waiting.pop()
        if operand.index in seen:
            continue
        seen.add(operand.index)
        if operand.is_view and operand.activation is None:
            waiting.extend(paths.operands(operand))
        else:
            found.append(operand)
    return found


def _valued_readers(paths: Paths, site: Site) -> list[Site]:
    return list(
        {found.index: found for reader in paths.readers(site) for found in _through_views(paths, reader)}.values()
    )


def _through_views(paths: Paths, site: Site) -> list[Site]:
    """``site`` itself, or, where it is a view without measured gradient, those that read it."""
    if site.gradient is not None or not site.is_view:
        return [site]
    return [found for reader in paths.readers(site) for found in _through_views(paths, reader)]


def _tensors_read(paths: Paths, site: Site) -> list[Tensor]:
    tensors = {tensor.name: tensor for tensor in (*paths.measurements.inputs, *paths.measurements.buffers)}
    return [tensors[name] for name in (*site.inputs, *site.buffers) if name in tensors]


def _is_infinite(culprit: Culprit | None) -> bool:
    return culprit is not None and math.isinf(culprit.value)
