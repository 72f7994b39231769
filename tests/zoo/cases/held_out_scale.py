"""Vanishing, exploding and badly scaled gradients that rules were not made with."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty
from zoo.truth import gradients


def _scaled(module: nn.Linear | nn.Conv2d, std: float) -> nn.Module:
    nn.init.normal_(module.weight, std=std)
    nn.init.zeros_(module.bias)
    return module


@faulty(Expected("vanishing-gradient"), "tiny")
def deep_convolutions_with_sigmoids() -> Built:
    layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, padding=1), nn.Sigmoid()]
    for _ in range(15):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    suffers = ("0.weight", "2.weight")
    return Built(model, (torch.randn(8, 1, 8, 8),), classes(4, 8), "cross_entropy", suffers=suffers)


class SigmoidRecurrence(nn.Module):
    """The memory of the first step is gone: sigmoid units, sixty steps."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(4, 20)
        self.into = nn.Linear(4, 20)
        self.recur = nn.Linear(20, 20)
        self.out = nn.Linear(20, 1)

    def forward(self, first: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        h = self.start(first)
        for t in range(rest.shape[1]):
            h = torch.sigmoid(self.into(rest[:, t]) + self.recur(h))
        return self.out(h)


@faulty(Expected("vanishing-gradient"), "tiny")
def first_state_of_a_sigmoid_recurrence() -> Built:
    inputs = (torch.randn(16, 4), torch.randn(16, 60, 4))
    return Built(SigmoidRecurrence(), inputs, torch.randn(16, 1), "mse_loss", suffers=("start.weight", "start.bias"))


class Doubling(nn.Module):
    """Residual blocks without normalisation whose branches are as strong as the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 32)
        self.blocks = nn.ModuleList([nn.Linear(32, 32, bias=False) for _ in range(48)])
        self.head = nn.Linear(32, 2)
        for block in self.blocks:
            nn.init.orthogonal_(block.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + 1.6 * F.leaky_relu(block(x), 0.5)
        return self.head(x)


@faulty(Expected("exploding-gradient"), "huge")
def residual_stream_that_doubles() -> Built:
    return Built(Doubling(), (torch.randn(16, 8),), classes(2, 16), "cross_entropy", suffers=("stem.weight",))


class GrowingMemory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(3, 20, nonlinearity="relu")
        self.out = nn.Linear(20, 2)
        with torch.no_grad():
            self.cell.weight_hh.copy_(1.7 * torch.eye(20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 20)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.out(h)


@faulty(Expected("exploding-gradient"), "told")
def relu_recurrence_with_growing_memory() -> Built:
    built = Built(GrowingMemory(), (torch.randn(16, 45, 3),), torch.randn(16, 2), "mse_loss")
    built.shown = lambda: float(gradients(built)["cell.weight_hh"].norm()) > 1e12
    return built


@faulty(Expected("poor-initialization"), "tiny")
def weights_drawn_far_too_small() -> Built:
    layers: list[nn.Module] = []
    for _ in range(9):
        layers += [_scaled(nn.Linear(64, 64), 0.01), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 5))
    built = Built(model, (torch.randn(32, 64),), classes(5, 32), "cross_entropy", suffers=("0.weight", "2.weight"))
    model[16].bias.data.fill_(0.1)
    return built


@faulty(Expected("poor-initialization"), "told")
def convolutions_drawn_from_a_unit_normal() -> Built:
    layers: list[nn.Module] = [_scaled(nn.Conv2d(3, 16, 3, padding=1), 1.0), nn.ReLU()]
    for _ in range(7):
        layers += [_scaled(nn.Conv2d(16, 16, 3, padding=1), 1.0), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    x = torch.randn(8, 3, 10, 10)
    return Built(model, (x,), classes(4, 8), "cross_entropy", shown=lambda: float(model(x).std()) > 1e5)


class TinyHalfLoss(nn.Module):
    """Half precision without loss scaling: gradients are below the smallest number."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.body = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)).half()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return ((self.body(x) - y).square() * self.weight).mean()


def _underflowing(weight: float, zero_share: float) -> Built:
    """Built so that at least this share of the first layer's gradient is zero, and is not in single precision."""
    x, y = torch.randn(128, 32).half(), torch.randn(128, 16).half()
    built = Built(TinyHalfLoss(weight), (x, y), None, "model")
    single = Built(copy.deepcopy(built.model).float(), (x.float(), y.float()), None, "model")

    def shown() -> bool:
        half, full = (gradients(each)["body.0.weight"] for each in (built, single))
        return float((half == 0).float().mean()) >= zero_share and bool((full != 0).float().mean() > 0.9)

    built.shown = shown
    return built


@faulty(Expected("gradient-underflow"), "told")
def half_precision_and_a_tiny_loss_weight() -> Built:
    return _underflowing(8e-5, 0.2)


@faulty(Expected("gradient-underflow", op="aten::mul", line="* self.weight"), "told")
def half_precision_and_a_loss_weight_that_leaves_nothing() -> Built:
    return _underflowing(4e-5, 1.0)


class CosineOfNearlyNothing(nn.Module):
    """Embeddings near the origin are divided by their length."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8))
        self.classes = nn.Linear(8, 3, bias=False)
        with torch.no_grad():
            self.encode[2].weight.mul_(1e-9)
            self.encode[2].bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encode(x)
        return self.classes(z / torch.linalg.vector_norm(z, dim=1, keepdim=True))


@faulty(Expected("ill-conditioned-op", op="aten::div", line="z / torch"), "huge")
def direction_of_vectors_of_length_zero() -> Built:
    suffers = ("encode.2.weight",)
    return Built(CosineOfNearlyNothing(), (torch.randn(16, 6),), classes(3, 16), "cross_entropy", suffers=suffers)


class Ratio(nn.Module):
    """One sample's denominator is almost zero."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Linear(5, 3)
        self.bottom = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(x) / (self.bottom(x).square() + 1e-9)


@faulty(Expected("ill-conditioned-op", op="aten::div", line="self.top(x) /"), "told")
def ratio_with_one_tiny_denominator() -> Built:
    model = Ratio()
    x = torch.randn(16, 5)
    with torch.no_grad():
        model.bottom.bias.sub_(model.bottom(x)[4])
    built = Built(model, (x,), torch.randn(16, 3), "l1_loss")
    built.shown = lambda: float(gradients(built)["top.weight"].abs().max()) > 1e5
    return built
