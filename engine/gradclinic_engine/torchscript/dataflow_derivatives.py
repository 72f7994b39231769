"""What a derivative that a program takes itself (`torch.autograd.grad`) depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph import ops
from gradclinic_engine.torchscript.dataflow_values import NOTHING, Flow, Scalar, Tensor, Value, flow_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradclinic_engine.torchscript.dataflow import SiteDraft


def read_by(values: Sequence[Value], drafts: Sequence[SiteDraft]) -> list[Value]:
    """The arguments of `aten::grad` with what the derivative depends on in place of what it is the derivative of.

    The derivative of `w * tanh(v * x) + b` with respect to `x` depends on `w`, `v` and the operand of `tanh`, and
    neither on `b` nor on the sum.

    Args:
        values: Outputs, inputs, gradients of the outputs, switches.
        drafts: All sites up to it.
    """
    outputs, inputs, *rest = values
    return [Tensor(_decisive(drafts, flow_of(outputs), flow_of(inputs))), Scalar(), *rest]


def _decisive(drafts: Sequence[SiteDraft], outputs: Flow, inputs: Flow) -> Flow:
    between = _between(drafts, outputs, inputs)
    on_way = inputs | between
    return NOTHING.union(
        *(
            _of_slope(drafts[index], position)
            for index in between
            for position, held in enumerate(drafts[index].arguments)
            if held & on_way
        )
    )


def _between(drafts: Sequence[SiteDraft], outputs: Flow, inputs: Flow) -> Flow:
    """The sites on the ways from inputs to outputs, without the inputs."""
    reached = set(inputs)
    size = 0
    while size != len(reached):  # once more for each loop that hands a value back
        size = len(reached)
        reached.update(draft.index for draft in drafts if draft.reads & reached)
    found: set[int] = set()
    waiting = list(outputs)
    while waiting:
        atom = waiting.pop()
        if atom >= 0 and atom in reached and atom not in found and atom not in inputs:
            found.add(atom)
            waiting += drafts[atom].reads
    return frozenset(found)


def _of_slope(draft: SiteDraft, position: int) -> Flow:
    """What the derivative of an operation with respect to one of its arguments depends on."""
    op = ops.of(draft.node.kind())
    if op.is_linear and not op.multiplies_list:
        factors = (op.factors or {}).get(position, ())
        return NOTHING.union(*(draft.arguments[place] for place in factors if place < len(draft.arguments)))
    return NOTHING.union(*(held for place, held in enumerate(draft.arguments) if place != op.bias_at))
