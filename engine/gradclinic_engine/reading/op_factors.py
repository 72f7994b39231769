"""Which values multiply which others at a site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Kind
from gradclinic_engine.graph.site_ops import op_of

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site


def positions_of(site: Site, atom: int | str) -> list[int]:
    """The arguments of a site that hold a value."""
    return [position for position, held in enumerate(site.arguments) if atom in held]


def factors_of(site: Site, atom: int | str) -> list[tuple[int | str, ...]]:
    """The arguments that the derivative of a site with respect to one of its operands is a multiple of."""
    op = op_of(site)
    if op.multiplies_list:
        held = next((held for held in site.arguments if atom in held), ())
        return [(other,) for other in held if other != atom]
    pairs = op.factors or {}
    return [
        site.arguments[factor]
        for position in positions_of(site, atom)
        for factor in pairs.get(position, ())
        if factor < len(site.arguments) and atom not in site.arguments[factor]
    ]


def number_that_takes_all(site: Site, atom: int | str) -> str:
    """The constant argument that multiplies an operand by zero, as `name=value`; empty if there is none."""
    op = op_of(site)
    if op.kind is Kind.DROPOUT and site.constants.get("p") == 1 and site.constants.get("train", True):
        return "p=1"
    positions = positions_of(site, atom)
    for name, position, all_gone in op.number_factors:
        value = site.constants.get(name)
        if position in positions and isinstance(value, (int, float)) and value == all_gone:
            return f"{name}={value:g}"
    return ""


def all_factor_groups(site: Site) -> list[tuple[int | str, ...]]:
    """All arguments of a product, any of which makes the whole of it zero."""
    op = op_of(site)
    if op.multiplies_list:
        return [(atom,) for held in site.arguments for atom in held]
    positions = sorted({position for pair in (op.factors or {}).items() for position in (pair[0], *pair[1])})
    return [site.arguments[position] for position in positions if position < len(site.arguments)]
