"""Faulty models of scale: initialisation, ill-conditioned operations, low precision, bad parameters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


def relu_stack(width: int, depth: int, deviation: float, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        nn.init.normal_(linear.weight, std=deviation)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


@faulty(Expected("poor-initialization"), "told")
def relu_stack_initialised_too_small() -> Built:
    return Built(relu_stack(64, 16, 0.01, 4), (torch.randn(32, 64),), classes(4, 32), "cross_entropy")


@faulty(Expected("poor-initialization"), "told")
def relu_stack_initialised_too_large() -> Built:
    return Built(relu_stack(64, 12, 1.0, 4), (torch.randn(32, 64),), torch.randn(32, 4), "mse_loss")


class TanhStack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(50, 50) for _ in range(14)])
        self.head = nn.Linear(50, 3)
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


@faulty(Expected("poor-initialization"), "tiny")
def tanh_stack_initialised_too_small() -> Built:
    return Built(TanhStack(), (torch.randn(32, 50),), classes(3, 32), "cross_entropy", suffers=("layers.0.weight",))


class NearlyZeroNorm(nn.Module):
    """Normalises vectors of which one is nearly zero, with far too small an epsilon."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 8, bias=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.embed(x)
        h = h / (torch.linalg.vector_norm(h, dim=1, keepdim=True) + 1e-12)
        return self.head(h)


@faulty(Expected("ill-conditioned-op", op="aten::div"), "told")
def normalisation_of_a_nearly_zero_vector() -> Built:
    x = torch.randn(16, 6)
    x[9] *= 1e-9
    return Built(NearlyZeroNorm(), (x,), classes(3, 16), "cross_entropy")


class LogNearItsPole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.log(F.relu(self.body(x)) + 1e-20))


@faulty(Expected("ill-conditioned-op", op="aten::log", line="torch.log"), "told")
def log_of_nearly_zero() -> Built:
    return Built(LogNearItsPole(), (torch.randn(16, 6),), classes(2, 16), "cross_entropy")


@faulty(Expected("non-finite-parameter", parameter="2.weight"), "non-finite")
def nan_in_a_weight() -> Built:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    with torch.no_grad():
        model[2].weight[3, 4] = float("nan")
    return Built(model, (torch.randn(16, 8),), classes(3, 16), "cross_entropy", suffers=("0.weight", "2.weight"))


class HalfOverflow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x) * 300.0
        energy = h * h
        return self.head(energy / energy.sum(1, keepdim=True))


@faulty(Expected("overflow-low-precision", op="aten::mul", line="h * h"), "non-finite")
def square_overflows_in_half_precision() -> Built:
    model = HalfOverflow().half()
    x = torch.randn(16, 16, dtype=torch.float16) * 4
    return Built(model, (x,), classes(3, 16), "cross_entropy", suffers=("body.weight",))


class HalfUnderflow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(16, 32)
        self.head = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.head(F.relu(self.body(x))).float(), y) * 1e-6


@faulty(Expected("gradient-underflow"), "told")
def half_precision_without_loss_scaling() -> Built:
    inputs = (torch.randn(32, 16, dtype=torch.float16), classes(3, 32))
    return Built(HalfUnderflow().half(), inputs, None, "model")
