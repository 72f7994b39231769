"""Numbers that a trace wrote down as tensors without dimensions become numbers again.

A Python number in `x * 0.5` does not decide the type of the product, a float64 tensor can: integers times it are
float64, and the next layer refuses them. TorchScript's executor puts the number back before it runs a graph; the plain
interpreter does not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.ops import CONSTANT

if TYPE_CHECKING:
    import torch

# As in torch's own pass (`canonicalize_graph_fuser_ops`): second operand of these.
_OPERATIONS = frozenset({"aten::add", "aten::sub", "aten::mul", "aten::div"})


def restore(graph: torch.Graph) -> None:
    """Replaces such constants where they are the second operand of an elementwise operation."""
    constants = graph.findAllNodes(CONSTANT, recurse=True)  # type: ignore[attr-defined]  # missing in torch's stubs
    while constants:  # a wrapper of a destroyed node would be taken for a new one at the same address
        constant = constants.pop()
        number = _number(constant)
        if number is None:
            continue
        for use in constant.output().uses():
            if use.offset == 1 and use.user.kind() in _OPERATIONS:
                graph.setInsertPoint(use.user)
                use.user.replaceInput(1, graph.insertConstant(number))  # type: ignore[attr-defined]  # missing in torch's stubs
        if not constant.output().uses():
            constant.destroy()


def _number(constant: torch.Node) -> float | int | None:
    """The number that a constant stands for; None for one that is no real number, or has dimensions."""
    if not constant.hasAttribute("value") or constant.kindOf("value") != "t":
        return None
    value: torch.Tensor = constant.t("value")
    if value.dim() or value.is_complex() or value.is_quantized or str(value.dtype) == "torch.bool":
        return None
    number: float | int = value.item()
    return number if math.isfinite(number) else None
