"""Reads what a graph's node has without torch's iterators: each of those ends with a C++ exception, 50 microseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

# The commonest nodes beside operators; they never hold a block.
_WITHOUT_BLOCKS = frozenset(
    f"prim::{name}"
    for name in (
        *("Constant", "GetAttr", "SetAttr", "CallMethod", "CallFunction", "NumToTensor", "unchecked_cast", "device"),
        *("ListConstruct", "ListUnpack", "TupleConstruct", "TupleUnpack", "TupleIndex", "DictConstruct", "dtype"),
    )
)


def inputs(node: torch.Node) -> list[torch.Value]:
    """What it reads."""
    return [node.inputsAt(place) for place in range(node.inputsSize())]


def outputs(node: torch.Node) -> list[torch.Value]:
    """What it gives."""
    return [node.outputsAt(place) for place in range(node.outputsSize())]


def blocks(node: torch.Node, kind: str) -> Iterable[torch.Block]:
    """The blocks within it; only control flow, which is of torch's own namespace, has any.

    Args:
        node: Any.
        kind: What it is.
    """
    return node.blocks() if kind.startswith("prim::") and kind not in _WITHOUT_BLOCKS else ()
