"""The operator table: one row for each operator, with every fact that anything above the front ends uses."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from gradclinic_engine.graph import ops_arrangement, ops_elements, ops_layers, ops_losses, ops_reductions
from gradclinic_engine.graph.op import Op, Span
from gradclinic_engine.graph.ops_elements import FLAT_DERIVATIVE_SHARE

if TYPE_CHECKING:
    from collections.abc import Mapping

ROWS = (
    *ops_arrangement.ROWS,
    *ops_elements.ROWS,
    *ops_layers.ROWS,
    *ops_reductions.ROWS,
    *ops_losses.ROWS,
)
_BY_NAME = {op.name: op for op in ROWS}
CONSTANT = "prim::Constant"


@lru_cache(maxsize=4096)
def of(name: str) -> Op:
    """The row of an operator; one of kind UNKNOWN where there is none.

    Args:
        name: For example `aten::relu`. `aten::relu_` has the facts of `aten::relu`, and is in place.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    plain = without_underscore(name)
    row = _BY_NAME.get(plain) or Op(name=plain)
    return replace(row, is_in_place=True) if plain != name else row


def without_underscore(name: str) -> str:
    """The operator without the trailing underscore of its in-place spelling."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def lively_span(op: Op, constants: Mapping[str, object]) -> Span | None:
    """Between which outputs a saturating op still has a derivative; None for ops that do not saturate.

    By output, because the input is gone when the probe sees the op.
    """
    if op.span is None:
        return None
    if op.floor:
        floor = constants.get(op.floor, 1.0)
        return Span(-floor * (1 - FLAT_DERIVATIVE_SHARE), math.inf) if isinstance(floor, (int, float)) else None
    given = (constants.get(name) for name in op.bounds)
    low, high = (at if to is None else to for at, to in zip((op.span.low, op.span.high), given, strict=True))
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)):
        return None
    return Span(float(low), float(high)) if math.isfinite(low) or math.isfinite(high) else None


def off_margin(op: Op, constants: Mapping[str, object]) -> float | None:
    """A unit is off whose outputs all lie between this far below zero and zero; None for ops that switch none off.

    ReLU and its like give exactly zero for one half of their inputs; GELU and its like come close to it.
    """
    switches = not op.off_when_zero or constants.get(op.off_when_zero) == 0
    return op.off_margin if switches else None
