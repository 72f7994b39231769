"""Networks for series and features as people write them, each with one fault; written before any rule saw them."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class GruForecast(nn.Module):
    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 20, num_layers=layers, batch_first=True)
        self.out = nn.Linear(20, 1)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        out, _ = self.gru(series)
        return self.out(out[:, -1])


@faulty(Expected("saturated-activation", module="gru"), "tiny")
def gru_update_gate_held_open() -> Built:
    model = GruForecast(1)
    with torch.no_grad():
        model.gru.bias_ih_l0[20:40] = 60.0
    return Built(model, (torch.randn(8, 15, 4),), torch.randn(8, 1), "mse_loss", suffers=("gru.weight_ih_l0",))


@faulty(Expected("unscaled-input", name="input:0"), "told")
def raw_sensor_counts_into_a_gru() -> Built:
    series = torch.randint(0, 65535, (8, 15, 4)).float()
    return Built(GruForecast(), (series,), torch.randn(8, 1), "mse_loss")


class PlainRnn(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        self.inp = nn.Linear(2, width)
        self.rec = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(series.size(0), self.width)
        for step in range(series.size(1)):
            h = torch.tanh(self.inp(series[:, step]) + self.rec(h))
        return self.out(h)


@faulty(Expected("vanishing-gradient", module=("rec", "inp", "")), "told", "script")
def two_hundred_steps_of_a_contracting_recurrence() -> Built:
    model = PlainRnn()
    with torch.no_grad():
        model.rec.weight.mul_(0.5)
    series = torch.randn(6, 200, 2)

    def shown() -> bool:
        x = series.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(x).sum(), x)
        return float(gradient[:, 0].norm()) < 1e-8 * float(gradient[:, -1].norm())

    return Built(model, (series,), torch.randn(6, 1), "mse_loss", shown=shown)


@faulty(Expected("exploding-gradient", module=("rec", "inp", "")), "told", "script")
def sixty_steps_of_an_expanding_relu_recurrence() -> Built:
    class Rectified(PlainRnn):
        def forward(self, series: torch.Tensor) -> torch.Tensor:
            h = torch.zeros(series.size(0), self.width)
            for step in range(series.size(1)):
                h = torch.relu(self.inp(series[:, step]) + self.rec(h))
            return self.out(h)

    model = Rectified()
    nn.init.orthogonal_(model.rec.weight, gain=2.5)
    series = torch.randn(6, 60, 2)

    def shown() -> bool:
        x = series.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(x).sum(), x)
        return float(gradient[:, 0].norm()) > 1e4 * float(gradient[:, -1].norm())

    return Built(model, (series,), torch.randn(6, 1), "mse_loss", shown=shown)


class Speech(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, 16, 9, stride=4)
        self.conv2 = nn.Conv1d(16, 32, 9, stride=4)
        self.head = nn.Linear(32, 6)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        x = F.leaky_relu(self.conv1(wave))
        x = F.leaky_relu(self.conv2(x))
        power = torch.log(x.pow(2).mean(-1) - 0.5)
        return self.head(power)


@faulty(Expected("non-finite-forward", op="aten::log", line="torch.log"), "non-finite")
def logarithm_of_a_negative_power() -> Built:
    return Built(Speech(), (torch.randn(8, 1, 256),), classes(6, 8), "cross_entropy", suffers=("conv1.weight",))


@faulty(Expected("overwritten-value"), "zero")
def coarse_part_written_over_by_the_fine_one() -> Built:
    class TwoScales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.coarse = nn.Linear(10, 6)
            self.fine = nn.Linear(10, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = torch.zeros(x.size(0), 6)
            out[:, :3] = torch.tanh(self.coarse(x))[:, :3]
            out[:, :] = torch.tanh(self.fine(x))
            return out

    return Built(TwoScales(), (torch.randn(8, 10),), torch.randn(8, 6), "mse_loss", suffers=("coarse.weight",))


@faulty(Expected("ill-conditioned-op"), "huge")
def silent_window_brought_to_length_one() -> Built:
    class Matching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(20, 20)
            self.gain = nn.Parameter(torch.ones(20))
            self.head = nn.Linear(20, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            x = x / (x.norm(p=2.0, dim=-1, keepdim=True) + 1e-30)
            return self.head(x * self.gain)

    model = Matching()
    nn.init.normal_(model.stem.bias, std=1e-12)
    x = torch.randn(8, 20)
    x[3] = 0.0
    return Built(model, (x,), classes(3, 8), "cross_entropy", suffers=("stem.bias",))


@faulty(Expected("poor-initialization"), "tiny")
def deep_reader_initialised_with_a_tiny_deviation() -> Built:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inp = nn.Linear(16, 64)
            self.hidden = nn.ModuleList([nn.Linear(64, 64) for _ in range(10)])
            self.out = nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.inp(x))
            for layer in self.hidden:
                x = F.relu(layer(x))
            return self.out(x)

    model = Deep()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    return Built(model, (torch.randn(16, 16),), classes(3, 16), "cross_entropy", suffers=("inp.weight",))


@faulty(Expected("degenerate-normalization"), "zero")
def attention_over_a_single_memory_slot() -> Built:
    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Linear(12, 8)
            self.key = nn.Linear(10, 8)
            self.value = nn.Linear(10, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
            q = self.query(x).unsqueeze(1)
            scores = torch.bmm(q, self.key(memory).transpose(1, 2)) / math.sqrt(8)
            context = torch.bmm(torch.softmax(scores, -1), self.value(memory))
            return self.head(context.squeeze(1))

    inputs = (torch.randn(8, 12), torch.randn(8, 1, 10))
    return Built(Memory(), inputs, classes(3, 8), "cross_entropy", suffers=("query.weight", "key.weight"))
