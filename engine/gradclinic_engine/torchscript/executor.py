"""TorchScript's executors: a graph run as it is written, and where the optimising one has autograd's derivatives."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

# The optimising executor either leaves the derivative of these to autograd, or has the same formula for it as autograd:
# with finite numbers the two differ by the order of sums and products, which is rounding. (With an infinite gradient
# already `relu` differs: autograd drops what it switches off, the executor multiplies it by zero.)
_ALIKE = frozenset(
    {
        *("prim::Constant", "prim::GetAttr", "prim::ListConstruct", "prim::TupleConstruct"),
        *("gradclinic::probe", "gradclinic::probe_optional", "gradclinic::probe_list", "gradclinic::visit"),
        *("aten::linear", "aten::addmm", "aten::matmul", "aten::mm", "aten::t", "aten::relu", "aten::tanh"),
        *("aten::sigmoid", "aten::add", "aten::sub", "aten::mul", "aten::neg", "aten::view", "aten::reshape"),
        *("aten::flatten", "aten::transpose", "aten::permute", "aten::unsqueeze", "aten::squeeze", "aten::contiguous"),
        *("aten::_convolution", "aten::conv1d", "aten::conv2d", "aten::conv3d"),
    }
)


def function_of(graph: torch.Graph) -> torch.jit.ScriptFunction[Any, object]:
    """A graph as a function of its inputs; the graph must not change any more."""
    function: torch.jit.ScriptFunction[Any, object] = torch._C._create_function_from_graph("forward", graph)  # noqa: SLF001  # no public way
    return function


@contextmanager
def unoptimised() -> Iterator[None]:
    """Inside, this thread runs and inlines graphs as they are written."""
    before = torch._C._get_graph_executor_optimize()  # noqa: SLF001  # no public switch
    torch._C._set_graph_executor_optimize(False)  # noqa: FBT003, SLF001  # positional only
    try:
        yield
    finally:
        torch._C._set_graph_executor_optimize(before)  # noqa: SLF001


def differentiates_alike(graph: torch.Graph) -> bool:
    """Whether all operations of a graph that may run are such."""
    return all(kind in _ALIKE for kind in _kinds(graph))


def _kinds(block: torch.Graph | torch.Block) -> Iterator[str]:
    """The kinds of all operations that may run, those in branches included; a loop counts as one operation."""
    for node in block.nodes():
        if node.kind() != "prim::If":
            yield node.kind()
            continue
        taken, other = node.blocks()
        always: object = node.inputsAt(0).toIValue()  # None where it is no constant
        for branch in (taken,) if always is True else (other,) if always is False else (taken, other):
            yield from _kinds(branch)
