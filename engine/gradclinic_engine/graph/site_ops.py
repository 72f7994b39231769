"""The operator that a site is, and what its constant arguments make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph import ops
from gradclinic_engine.graph.op import Formula, Kind, Reduction

if TYPE_CHECKING:
    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.measurements import Site


def op_of(site: Site) -> Op:
    """The row of a site's operator."""
    return ops.of(site.op)


def acting_op(site: Site) -> Op:
    """The row of the operator that a site is or, together with those before it, amounts to."""
    return ops.of(site.acts_as or site.op)


def argument_at(site: Site, position: int | None) -> tuple[int | str, ...]:
    """What one of its arguments holds; () where it has no such argument."""
    return site.arguments[position] if position is not None and position < len(site.arguments) else ()


def is_constant(site: Site) -> bool:
    """Whether a site is a tensor that is written into the program."""
    return site.op == ops.CONSTANT


def off_margin(site: Site) -> float | None:
    """How far below zero the outputs of units that are off lie; None where it switches none off."""
    return ops.off_margin(acting_op(site), site.constants)


def limits(site: Site) -> bool:
    """Whether a site cuts off what lies beyond a bound: a number, or another tensor."""
    if site.acts_as:
        return False
    op = op_of(site)
    if op.reduction is Reduction.EXTREME and op.has_ties:  # of two tensors; else they reduce one
        return len(site.arguments) > 1 and bool(site.arguments[1]) and "dim" not in site.constants
    return op.kind is Kind.LIMIT


def rectifies(site: Site) -> bool:
    """Whether a site gives zero, with no derivative, for inputs below zero, and the input itself above."""
    op = acting_op(site)
    if op.kind is Kind.LIMIT and op.off_when_zero:
        return site.constants.get(op.off_when_zero) == 0 and site.constants.get("max") is None
    return op.formula is Formula.RECTIFIER or (op.formula is Formula.LARGER and op.kind is Kind.LIMIT)


def has_zero_derivative(site: Site) -> bool:
    """Whether a site's derivative is zero almost everywhere."""
    op = op_of(site)
    return op.has_zero_derivative or (
        op.formula is Formula.DIVIDE and site.constants.get("rounding_mode") in ("floor", "trunc")
    )
