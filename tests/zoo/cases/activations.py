"""Faulty models whose activations pass no gradient: dead and saturated ones."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


def stack(width: int, depth: int, activation: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers)


@faulty(Expected("dead-relu", module="5"), "zero")
def large_negative_bias_inside_a_deep_net() -> Built:
    model = nn.Sequential(*stack(32, 4, nn.ReLU), nn.Linear(32, 3))
    nn.init.constant_(model[4].bias, -40.0)
    x = torch.randn(16, 32)
    return Built(model, (x,), classes(3, 16), "cross_entropy", suffers=("0.weight", "2.weight", "4.weight"))


class DeadConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.middle = nn.Conv2d(8, 16, 3, padding=1)
        self.head = nn.Linear(16, 5)
        nn.init.constant_(self.middle.bias, -25.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.middle(x))
        return self.head(x.mean((2, 3)))


@faulty(Expected("dead-relu", op=("aten::relu", "aten::relu_"), line="F.relu(self.middle(x))"), "zero")
def functional_relu_dead_in_a_cnn() -> Built:
    x = torch.randn(6, 3, 10, 10)
    suffers = ("stem.weight", "middle.weight")
    return Built(DeadConvolution(), (x,), classes(5, 6), "cross_entropy", suffers=suffers)


class InPlaceDead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(14, 20)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Linear(20, 4)
        with torch.no_grad():
            self.first.bias.fill_(-60.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.act(self.first(x)))


@faulty(Expected("dead-relu", module="act"), "zero")
def in_place_relu_dead() -> Built:
    return Built(InPlaceDead(), (torch.randn(16, 14),), torch.randn(16, 4), "mse_loss", suffers=("first.weight",))


class ClampedAtZero(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(10, 24)
        self.second = nn.Linear(24, 2)
        nn.init.constant_(self.first.bias, -30.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x).clamp(min=0.0)
        return self.second(hidden)


@faulty(Expected("dead-relu", op=("aten::clamp", "aten::clamp_min"), line="clamp(min=0.0)"), "zero")
def clamp_as_relu_dead() -> Built:
    return Built(ClampedAtZero(), (torch.randn(16, 10),), classes(2, 16), "cross_entropy", suffers=("first.weight",))


class MaximumAsRelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 16)
        self.out = nn.Linear(16, 3)
        nn.init.constant_(self.project.bias, -50.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.maximum(self.project(x), torch.zeros(1)))


@faulty(Expected("dead-relu", op="aten::maximum", line="torch.maximum"), "zero")
def maximum_as_relu_dead() -> Built:
    return Built(MaximumAsRelu(), (torch.randn(16, 8),), classes(3, 16), "cross_entropy", suffers=("project.weight",))


class MostlyDead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(20, 100)
        self.act = nn.ReLU()
        self.second = nn.Linear(100, 4)
        with torch.no_grad():
            self.first.bias[:96] = -30.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.act(self.first(x)))


@faulty(Expected("dead-relu", module="act"), "told")
def nearly_all_units_dead() -> Built:
    return Built(MostlyDead(), (torch.randn(32, 20),), classes(4, 32), "cross_entropy")


class Saturated(nn.Module):
    def __init__(self, activation: nn.Module, gain: float) -> None:
        super().__init__()
        self.first = nn.Linear(16, 32)
        self.act = activation
        self.second = nn.Linear(32, 3)
        with torch.no_grad():
            self.first.weight.mul_(gain)
            self.first.bias.mul_(gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.act(self.first(x)))


@faulty(Expected("saturated-activation", module="act"), "told")
def tanh_with_huge_weights() -> Built:
    return Built(Saturated(nn.Tanh(), 300.0), (torch.randn(16, 16),), classes(3, 16), "cross_entropy")


@faulty(Expected("saturated-activation", module="act"), "told")
def sigmoid_with_huge_weights() -> Built:
    return Built(Saturated(nn.Sigmoid(), 500.0), (torch.randn(16, 16),), torch.randn(16, 3), "mse_loss")


@faulty(Expected("saturated-activation", module="act"), "told")
def hardtanh_with_huge_weights() -> Built:
    return Built(Saturated(nn.Hardtanh(), 400.0), (torch.randn(16, 16),), classes(3, 16), "cross_entropy")


@faulty(Expected("saturated-activation", module="act"), "told")
def relu6_with_huge_weights() -> Built:
    model = Saturated(nn.ReLU6(), 1.0)
    nn.init.constant_(model.first.bias, 40.0)
    return Built(model, (torch.randn(16, 16),), classes(3, 16), "cross_entropy", suffers=("first.weight",))


class FunctionalSaturation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 24)
        self.mix = nn.Linear(24, 24)
        self.out = nn.Linear(24, 50)
        with torch.no_grad():
            self.mix.weight.mul_(200.0)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.mix(self.embed(tokens)))
        return self.out(h.mean(1))


@faulty(Expected("saturated-activation", op="aten::tanh", line="torch.tanh"), "told")
def functional_tanh_saturated_after_an_embedding() -> Built:
    tokens = torch.randint(0, 50, (16, 7))
    return Built(FunctionalSaturation(), (tokens,), torch.randint(0, 50, (16,)), "cross_entropy")
