"""Gates inside fused LSTM, GRU, RNN and GLU: computed anew, they must be those that torch itself uses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # everybody's name for it

from eager_reference import Request, measured, sites
from gradclinic_engine.graph import ops
from observed_models import FORMS, Form


class Recurrent(nn.Module):
    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.core(x)[0]


def cores() -> list[tuple[str, nn.Module]]:
    torch.manual_seed(3)
    return [
        ("lstm", nn.LSTM(3, 5)),
        ("lstm", nn.LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True)),
        ("lstm", nn.LSTM(3, 5, bias=False, batch_first=True)),
        ("gru", nn.GRU(3, 5, num_layers=2, batch_first=True)),
        ("gru", nn.GRU(3, 5, bidirectional=True)),
        ("rnn_tanh", nn.RNN(3, 5, num_layers=2)),
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "core"), cores())
def test_each_gate_is_looked_at(kind: str, core: nn.Module, form: Form) -> None:
    found = measured(Request(Recurrent(core), (torch.randn(4, 6, 3),), form))
    seen = sites(found, kind)
    assert [tuple(gate.name for gate in site.gates) for site in seen[:1]] == [ops.of(f"aten::{kind}").gates]
    assert {gate.flat_share for site in seen for gate in site.gates} == {0.0}


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn_tanh"])
def test_saturation_in_a_second_layer_depends_on_the_first(kind: str) -> None:
    """Its input is the first layer's output, which has to be computed as torch does."""
    core = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn_tanh": nn.RNN}[kind](3, 5, num_layers=2, batch_first=True)
    weight = torch.randn(core.weight_ih_l1.shape) * 60.0
    core.weight_ih_l1 = nn.Parameter(weight)
    x = torch.randn(4, 6, 3)
    found = measured(Request(Recurrent(core), (x,)))
    first = type(core)(3, 5, batch_first=True)
    first.load_state_dict({name: each for name, each in core.state_dict().items() if name.endswith("_l0")})
    with torch.no_grad():
        score = first(x)[0] @ weight.T
    candidate = score[..., 10:15] if kind != "rnn_tanh" else score
    expected = float((candidate.abs() > 3).float().mean())  # of the tanh; the recurrent part and biases are small
    assert sites(found, kind)[0].gates[-2 if kind == "lstm" else -1].flat_share == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("gate", range(4))
def test_only_the_gate_whose_bias_is_huge_is_flat(gate: int, form: Form) -> None:
    core = nn.LSTM(3, 5, num_layers=2, batch_first=True)
    core.bias_ih_l1 = nn.Parameter(torch.zeros(20).index_fill(0, torch.arange(5 * gate, 5 * gate + 5), 40.0))
    found = measured(Request(Recurrent(core), (torch.randn(4, 6, 3),), form))
    shares = [each.flat_share for each in sites(found, "lstm")[0].gates]
    assert shares == [float(place == gate) for place in range(4)]


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 5)
        self.cell.bias_ih = nn.Parameter(torch.full((20,), 50.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, c = torch.zeros(4, 5), torch.zeros(4, 5)
        for step in range(x.size(1)):
            h, c = self.cell(x[:, step], (h, c))
        return h


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.core = nn.LSTM(3, 5)
        self.core.bias_ih_l0 = nn.Parameter(torch.full((20,), 50.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([6, 5, 3, 2]), batch_first=True)
        return self.core(packed)[0].data


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 10)
        self.fc.bias = nn.Parameter(torch.cat([torch.zeros(5), torch.full((5,), 50.0)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.glu(self.fc(x))


@pytest.mark.parametrize(
    ("op", "model", "form"),
    [
        ("lstm_cell", Cell, "script"),  # a trace takes it apart
        *((op, model, form) for op, model in (("lstm", Packed), ("glu", Gated)) for form in FORMS),
    ],
)
def test_cells_packed_sequences_and_linear_units(op: str, model: type[nn.Module], form: Form) -> None:
    found = measured(Request(model(), (torch.randn(4, 6, 3),), form))
    assert {gate.flat_share for site in sites(found, op)[:1] for gate in site.gates} == {1.0}


def test_a_projected_state_is_left_alone() -> None:
    found = measured(Request(Recurrent(nn.LSTM(3, 5, proj_size=2)), (torch.randn(4, 6, 3),)))
    assert {site.gates for site in sites(found, "lstm")} == {()}
