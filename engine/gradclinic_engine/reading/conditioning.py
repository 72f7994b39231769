"""Operations that multiply the gradient enormously on its way back: what each gets, and what it hands on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.reading.paths import Paths, gradient_norm

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site

# A rounding error of float32 in what such an op reads changes its gradient by a tenth and more.
STEEP_BITS = 20.0
# Another reader of the same value that gets this much less cannot have handed on as much.
MINOR_BITS = 10.0


@dataclass(frozen=True, slots=True)
class Steep:
    """An op that multiplies the gradient by an enormous factor.

    Attributes:
        site: The op.
        operand: What it hands the gradient on to.
        gain_bits: log2 of the factor, per element where it spreads over more elements.
    """

    site: Site
    operand: Site
    gain_bits: float


def steep_ops(paths: Paths) -> list[Steep]:
    """All such ops, in the order of the backward pass; none where the loss is not finite."""
    if not math.isfinite(paths.measurements.loss.value):
        return []
    found = []
    for site in paths.sites.values():
        if not (op_of(site).is_singular or op_of(site).is_steep) or not 0 < gradient_norm(site) < math.inf:
            continue
        gains = [(_gain_bits(site, operand), operand) for operand in _operands(paths, site)]
        gain, operand = max(gains, key=lambda each: each[0], default=(0.0, site))
        if gain >= STEEP_BITS:
            found.append(Steep(site, operand, gain))
    return sorted(found, key=lambda steep: steep.site.gradient_order)


def _gain_bits(site: Site, operand: Site) -> float:
    """What comes of summing over many elements is not counted."""
    if operand.gradient is None or site.gradient is None:
        return 0.0
    fewer = min(1.0, operand.gradient.element_count / site.gradient.element_count)
    return math.log2(gradient_norm(operand) / gradient_norm(site) * math.sqrt(fewer))


def _operands(paths: Paths, site: Site) -> list[Site]:
    """What it hands its gradient on to, and nobody else hands on as much; behind views, what they are views of."""
    found: dict[int, Site] = {}
    waiting, seen = [site], {site.index}
    while waiting:
        current = waiting.pop()
        for operand in paths.operands(current):
            if operand.index in seen:
                continue
            seen.add(operand.index)
            if operand.gradient is None:
                if operand.is_view:
                    waiting.append(operand)
            elif 0 < gradient_norm(operand) < math.inf and not _has_other_giver(paths, operand, {site.index, *seen}):
                found[operand.index] = operand
    return list(found.values())


def _has_other_giver(paths: Paths, operand: Site, own: set[int]) -> bool:
    limit = gradient_norm(operand) * 2.0**-MINOR_BITS
    return any(gradient_norm(reader) > limit for reader in paths.readers(operand) if reader.index not in own)
