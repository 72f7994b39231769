"""How many gates are flat inside operators that hide them (LSTM, GRU, GLU): computed anew on a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.graph import ops
from gradclinic_engine.graph.op import Kind
from gradclinic_engine.graph.ops_elements import SIGMOID_SPAN, TANH_SPAN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradclinic_engine.graph.op import Op

# Sequences of the batch, and steps from their beginning: enough to tell a site, cheap beside the operator itself.
SEQUENCES = 4
STEPS = 24
_TANH = frozenset({"cell", "new state", "state"})
_BATCHED = 3  # dimensions of a batch of sequences


@dataclass(frozen=True, slots=True)
class GatedCall:
    """What a gated operator got.

    Attributes:
        op: The operator.
        constants: Its constant arguments by name.
        value: Input.
        state: Initial state: hidden, and of an LSTM also the cell.
        weights: In torch's order.
    """

    op: str
    constants: Mapping[str, object]
    value: torch.Tensor
    state: Sequence[torch.Tensor]
    weights: Sequence[torch.Tensor]


@torch.no_grad()
def flat_counts(call: GatedCall) -> torch.Tensor | None:
    """Number of flat elements, and of all, of each gate in each layer and direction: ``[places, gates, 2]``.

    None for what cannot be computed from its arguments alone, such as projected states.
    """
    op = ops.of(call.op)
    if call.value.is_complex() or not call.value.numel():
        return None
    if op.kind is Kind.GATING:
        dimension = call.constants.get("dim", -1)
        gate = call.value.detach().chunk(2, dimension if isinstance(dimension, int) else -1)[1]
        return _count([gate.float().sigmoid()], op.gates)[None]
    return _of_recurrence(call, op)


def _of_recurrence(call: GatedCall, op: Op) -> torch.Tensor | None:
    layers = call.constants.get("num_layers", 1)
    directions = 2 if call.constants.get("bidirectional") else 1
    per_place = len(call.weights) // (int(layers) * directions) if isinstance(layers, int) else 0
    has_biases = per_place == 4  # noqa: PLR2004 - two matrices, two biases
    if per_place not in (2, 4):
        return None
    value, batch_first = call.value.detach(), bool(call.constants.get("batch_first"))
    is_packed = value.dim() < _BATCHED and not op.is_cell and bool(call.state) and call.state[0].dim() == _BATCHED
    if is_packed:  # in time order, the first step of all sequences stands first
        value, batch_first = value[: call.state[0].shape[1]].unsqueeze(1), True
    elif op.is_cell:
        value, batch_first = (value if value.dim() > 1 else value[None]).unsqueeze(1), True
    elif value.dim() < _BATCHED:
        value = value.unsqueeze(0 if batch_first else 1)
    value = value if batch_first else value.transpose(0, 1)
    rows = slice(0, None, max(1, value.shape[0] // SEQUENCES))
    value = value[rows, :STEPS][:SEQUENCES].float()
    states = [_rows_of(state.detach(), rows, len(value)) for state in call.state]
    found = []
    for layer in range(len(call.weights) // (per_place * directions)):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            weights = [weight.detach().float() for weight in call.weights[place * per_place : (place + 1) * per_place]]
            sequence = value.flip(1) if direction else value
            gates, output = _run(op.gates, sequence, [state[place] for state in states], weights, has_biases=has_biases)
            found.append(_count(gates, op.gates))
            outputs.append(output.flip(1) if direction else output)
        value = torch.cat(outputs, dim=-1)
    return torch.stack(found)


def _rows_of(state: torch.Tensor, rows: slice, count: int) -> torch.Tensor:
    """The state of the sampled sequences, ``[places, sequences, features]``."""
    if state.dim() < _BATCHED:  # of a cell, or of one sequence
        state = state.unsqueeze(0) if state.shape[0] != 1 or count > 1 else state.unsqueeze(1)
    return state[:, rows][:, :count].float()


def _run(
    names: Sequence[str],
    sequence: torch.Tensor,
    state: list[torch.Tensor],
    weights: list[torch.Tensor],
    *,
    has_biases: bool,
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Each gate's values over all steps, and the outputs, ``[sequences, steps, features]``."""
    from_input = torch.nn.functional.linear(sequence, weights[0], weights[2] if has_biases else None)
    hidden, cell = state[0], state[-1]
    by_step: list[tuple[torch.Tensor, ...]] = []
    outputs = []
    gates: tuple[torch.Tensor, ...]
    for step in range(sequence.shape[1]):
        recurrent = torch.nn.functional.linear(hidden, weights[1], weights[3] if has_biases else None)
        if "forget gate" in names:
            i, f, g, o = (from_input[:, step] + recurrent).chunk(4, 1)
            gates = (i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid())
            cell = gates[1] * cell + gates[0] * gates[2]
            hidden = gates[3] * cell.tanh()
        elif "reset gate" in names:
            (r, z, n), (hr, hz, hn) = from_input[:, step].chunk(3, 1), recurrent.chunk(3, 1)
            reset, update = (r + hr).sigmoid(), (z + hz).sigmoid()
            gates = (reset, update, (n + reset * hn).tanh())
            hidden = (1 - update) * gates[2] + update * hidden
        else:
            hidden = (from_input[:, step] + recurrent).tanh()
            gates = (hidden,)
        by_step.append(gates)
        outputs.append(hidden)
    return [torch.stack(each) for each in zip(*by_step, strict=True)], torch.stack(outputs, dim=1)


def _count(gates: list[torch.Tensor], names: Sequence[str]) -> torch.Tensor:
    rows = []
    for name, values in zip(names, gates, strict=True):
        span = TANH_SPAN if name in _TANH else SIGMOID_SPAN
        flat = ((values <= span.low) | (values >= span.high)).sum()
        rows.append(torch.stack([flat, torch.full_like(flat, values.numel())]))
    return torch.stack(rows).double()
