"""Carries out `torch.autocast` within a script: TorchScript's executor does so by a pass over the graph.

The plain interpreter, which runs observed programs, knows nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gradclinic_engine.errors import AnalysisError, FailureReason

if TYPE_CHECKING:
    from gradclinic_engine.torchscript.program_inline import Inlined

_AUTOCAST = "__torch__.torch.amp.autocast_mode.autocast"
_CASTS = ("aten::_autocast_to_reduced_precision", "aten::_autocast_to_full_precision")


def apply(inlined: Inlined) -> None:
    """Puts the casts in that autocast makes; each belongs to the module of the operation that it is for.

    Raises:
        AnalysisError: FORWARD_ERROR where torch cannot compile it, because its arguments are no constants.
    """
    graph = inlined.graph
    made = graph.findAllNodes("prim::CreateObject", recurse=True)  # type: ignore[attr-defined]  # missing in torch's stubs
    if all(node.output().type().str() != _AUTOCAST for node in made):
        return
    del made  # the passes below may destroy nodes
    try:
        # Autocast's own arguments become constants; tensors are left as they are.
        torch._C._jit_pass_constant_propagation_immutable_types(graph)  # type: ignore[attr-defined]  # noqa: SLF001  # missing in torch's stubs
        torch._C._jit_pass_autocast(graph)  # type: ignore[attr-defined]  # noqa: SLF001  # the same
    except RuntimeError as error:
        raise AnalysisError(
            FailureReason.FORWARD_ERROR,
            f"torch cannot compile the model's torch.autocast: {str(error).strip().splitlines()[0]}.",
            trace=str(error),
        ) from error
    for kind in _CASTS:
        for node in graph.findAllNodes(kind, recurse=True):  # type: ignore[attr-defined]  # missing in torch's stubs
            users = [use.user for use in node.output().uses()]
            inlined.frames[node.output().unique()] = inlined.frame(users[0]) if users else inlined.root
