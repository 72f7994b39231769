"""What the data-flow walk works out about numbers and flags, so that branches which never run are left out."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradclinic_engine.torchscript.dataflow_containers import known
from gradclinic_engine.torchscript.dataflow_values import (
    UNKNOWN,
    Scalar,
    Sequence,
    Value,
    flow_of,
    settle,
    tensors_in,
)
from gradclinic_engine.torchscript.dataflow_values import Mapping as Entries

if TYPE_CHECKING:
    import torch

# Scalar operators whose result decides branches in practice.
FOLDED: dict[str, Any] = {
    "aten::lt": operator.lt,
    "aten::le": operator.le,
    "aten::gt": operator.gt,
    "aten::ge": operator.ge,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::__not__": operator.not_,
    "aten::__and__": operator.and_,
    "aten::__or__": operator.or_,
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::add": operator.add,
    "aten::sub": operator.sub,
    "aten::mul": operator.mul,
    "aten::neg": operator.neg,
    "aten::Bool": bool,
    "aten::Int": int,
    "aten::Float": float,
}


def fold(kind: str, values: list[Value]) -> object:
    """The result of a scalar operator, UNKNOWN where its operands are not known."""
    arguments = [known(value) for value in values]
    if kind in ("aten::__is__", "aten::__isnot__") and None in arguments:
        # A tensor, list or module is never None; an unknown scalar may be.
        others = [option for value in values for option in settle(value)]
        if all(not isinstance(option, Scalar) or option.known is None for option in others):
            if len(others) != 2:  # noqa: PLR2004  # two operands
                return UNKNOWN
            same = all(isinstance(option, Scalar) for option in others)
            return same if kind == "aten::__is__" else not same
    if any(argument is UNKNOWN for argument in arguments):
        return UNKNOWN
    if any(isinstance(value, Scalar) and (value.source or value.is_shape) for value in values):
        return UNKNOWN
    try:
        return FOLDED[kind](*arguments)
    except (TypeError, ValueError, OverflowError):
        return UNKNOWN


def constants_of(names: tuple[str, ...], values: list[Value]) -> dict[str, object]:
    """The arguments whose value is known, by their schema name."""
    found = {}
    for name, value in zip(names, values, strict=False):
        constant = known(value)
        if constant is not UNKNOWN:
            found[name] = constant
    return found


def is_shape_arithmetic(kind: str, values: list[Value]) -> bool:
    """Traces compute with shapes as if they were data: such tensors are no sites."""
    if any(True for value in values for _ in tensors_in(value)):
        return False
    if kind == "prim::NumToTensor":
        return not flow_of(values[0])
    return any(isinstance(option, Scalar) and option.is_shape for value in values for option in settle(value))


def constant(value: torch.Value) -> object:
    """What a constant of the graph is in Python, UNKNOWN where Python has no such value.

    It has none for a function, nor for a member of the model's own enumeration, whose class is on the caller's machine.
    """
    try:
        found: object = value.toIValue()
    except RuntimeError:
        return UNKNOWN
    return found


def as_value(constant: object) -> Value:
    """A Python constant as an abstract value."""
    if isinstance(constant, (list, tuple)):
        return Sequence([as_value(part) for part in constant])
    if isinstance(constant, Mapping):
        return Entries({key: as_value(part) for key, part in constant.items()})
    return Scalar(constant)
