"""Activations that no operation of their own shows: gates inside LSTM, GRU and GLU, softsign, rectifiers by a mask."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty, healthy


class Reader(nn.Module):
    """The last step of a recurrent layer, and a head."""

    def __init__(self, core: nn.Module, width: int) -> None:
        super().__init__()
        self.core = core
        self.head = nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.core(x)[0][:, -1])


def series(model: nn.Module, suffers: tuple[str, ...] = ()) -> Built:
    return Built(model, (torch.randn(10, 14, 5),), classes(3, 10), "cross_entropy", suffers=suffers)


def with_bias(core: nn.RNNBase, name: str, gates: slice, value: float) -> nn.RNNBase:
    with torch.no_grad():
        core.get_parameter(name)[gates] = value
    return core


@faulty(Expected("saturated-activation", module="core"), "tiny")
def output_gates_of_an_lstm_shut() -> Built:
    core = with_bias(nn.LSTM(5, 12, batch_first=True), "bias_hh_l0", slice(36, 48), -40.0)
    return series(Reader(core, 12), ("core.weight_ih_l0",))


@faulty(Expected("saturated-activation", module="core"), "tiny")
def second_layer_of_a_gru_never_updates() -> Built:
    core = with_bias(nn.GRU(5, 12, num_layers=2, batch_first=True), "bias_ih_l1", slice(12, 24), 50.0)
    return series(Reader(core, 12), ("core.weight_ih_l1",))


@faulty(Expected("saturated-activation", module="core"), "told")
def bidirectional_lstm_with_huge_input_weights() -> Built:
    core = nn.LSTM(5, 12, bidirectional=True, batch_first=True)
    nn.init.normal_(core.weight_ih_l0, std=40.0)
    nn.init.normal_(core.get_parameter("weight_ih_l0_reverse"), std=40.0)

    def shown() -> bool:
        return float(((torch.randn(20, 5) @ core.weight_ih_l0.T).abs() > 6).float().mean()) > 0.9

    built = series(Reader(core, 24))
    built.shown = shown
    return built


@faulty(Expected("saturated-activation", module="core"), "told")
def plain_recurrence_with_huge_recurrent_weights() -> Built:
    core = nn.RNN(5, 12, batch_first=True)
    nn.init.normal_(core.weight_hh_l0, std=15.0)

    def shown() -> bool:
        out, _ = core(torch.randn(4, 10, 5))
        return float((out[:, 3:].abs() > 0.995).float().mean()) > 0.5

    built = series(Reader(core, 12))
    built.shown = shown
    return built


class CellLoop(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.size(0), 12)
        for step in range(x.size(1)):
            h = self.cell(x[:, step], h)
        return self.head(h)


@faulty(Expected("saturated-activation", module="cell"), "tiny")
def update_gate_of_a_gru_cell_held_open() -> Built:
    cell = nn.GRUCell(5, 12)
    with torch.no_grad():
        cell.bias_ih[12:24] = 60.0
    return series(CellLoop(cell), ("cell.weight_ih",))


class Gated(nn.Module):
    def __init__(self, glu: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 16)
        self.both = nn.Linear(16, 32)
        self.glu = glu
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.glu(self.both(torch.relu(self.stem(x)))))


class GluByHand(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = x.chunk(2, dim=-1)
        return value * torch.sigmoid(gate)


def shut(model: Gated) -> Gated:
    model.both.bias = nn.Parameter(torch.cat([torch.zeros(16), torch.full((16,), -150.0)]))
    return model


def rows(model: nn.Module, suffers: tuple[str, ...] = ()) -> Built:
    return Built(model, (torch.randn(24, 6),), classes(3, 24), "cross_entropy", suffers=suffers)


@faulty(Expected("saturated-activation", module="glu"), "zero")
def gate_of_a_glu_module_shut() -> Built:
    return rows(shut(Gated(nn.GLU())), ("stem.weight",))


@faulty(Expected("saturated-activation", module="glu", op="aten::sigmoid"), "zero")
def gate_of_a_glu_by_hand_shut() -> Built:
    return rows(shut(Gated(GluByHand())), ("stem.weight",))


class Activated(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 24)
        self.middle = nn.Linear(24, 24)
        self.act = act
        self.head = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.middle(F.relu(self.stem(x)))))


def shifted(act: nn.Module, by: float) -> Built:
    model = Activated(act)
    nn.init.constant_(model.middle.bias, by)
    return rows(model, ("stem.weight",))


class SoftsignByHand(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (torch.abs(x) + 1.0)


class FunctionalSoftsign(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.softsign(x)


@faulty(Expected("saturated-activation", module="act"), "tiny")
def softsign_far_out() -> Built:
    return shifted(nn.Softsign(), 4000.0)


@faulty(Expected("saturated-activation", module="act"), "tiny")
def softsign_function_far_out() -> Built:
    return shifted(FunctionalSoftsign(), -4000.0)


@faulty(Expected("saturated-activation", module="act"), "tiny")
def softsign_by_hand_far_out() -> Built:
    return shifted(SoftsignByHand(), 4000.0)


@faulty(Expected("saturated-activation", module="act"), "zero")
def elu_far_below_zero() -> Built:
    return shifted(nn.ELU(), -200.0)


@faulty(Expected("dead-relu", module="act"), "zero")
def gelu_off() -> Built:
    return shifted(nn.GELU(), -60.0)


@faulty(Expected("dead-relu", module="act"), "tiny")
def silu_off() -> Built:
    return shifted(nn.SiLU(), -60.0)


@faulty(Expected("dead-relu", module="act"), "zero")
def hardswish_off() -> Built:
    return shifted(nn.Hardswish(), -60.0)


class MaskedInPlace(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[x < 0] = 0
        return x


class Masked(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > 0) * x


class Filled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.masked_fill(x <= 0, 0.0)


class Larger(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.max(x, torch.zeros_like(x))


@faulty(Expected("dead-relu", module="act"), "zero")
def rectifier_in_place_by_an_index_is_off() -> Built:
    return shifted(MaskedInPlace(), -60.0)


@faulty(Expected("dead-relu", module="act"), "zero")
def rectifier_by_a_product_is_off() -> Built:
    return shifted(Masked(), -60.0)


@faulty(Expected("dead-relu", module="act"), "zero")
def rectifier_by_filling_is_off() -> Built:
    return shifted(Filled(), -60.0)


@faulty(Expected("dead-relu", module="act"), "zero")
def rectifier_by_the_larger_one_is_off() -> Built:
    return shifted(Larger(), -60.0)


@healthy()
def lstm_whose_forget_gates_start_open() -> Built:
    core = with_bias(nn.LSTM(5, 12, batch_first=True), "bias_ih_l0", slice(12, 24), 4.0)
    return series(Reader(core, 12))


@healthy()
def lstm_with_memories_of_many_lengths() -> Built:
    core = nn.LSTM(5, 32, batch_first=True)
    lengths = torch.log(torch.linspace(2.0, 800.0, 32))
    with torch.no_grad():
        core.bias_ih_l0[32:64] = lengths
        core.bias_ih_l0[:32] = -lengths
    return series(Reader(core, 32))


@healthy()
def gelu_silu_and_elu_by_default() -> Built:
    body = nn.Sequential(nn.Linear(6, 24), nn.GELU(), nn.Linear(24, 24), nn.SiLU(), nn.Linear(24, 24), nn.ELU())
    return rows(nn.Sequential(body, nn.Linear(24, 24), nn.SELU(), nn.Linear(24, 24), nn.Mish(), nn.Linear(24, 3)))


@healthy()
def every_spelling_of_a_rectifier() -> Built:
    layers: list[nn.Module] = []
    for act in (Masked(), Filled(), Larger(), MaskedInPlace(), SoftsignByHand(), nn.Softsign()):
        layers += [nn.Linear(24, 24), act]
    return rows(nn.Sequential(nn.Linear(6, 24), nn.ReLU(), *layers, nn.Linear(24, 3)))


@healthy()
def gated_linear_units() -> Built:
    return rows(nn.Sequential(nn.Linear(6, 32), nn.GLU(), nn.Linear(16, 32), nn.GLU(), nn.Linear(16, 3)))
