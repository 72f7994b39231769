"""Faulty models whose gradient decays or grows along depth or time."""

from __future__ import annotations

import torch
from torch import nn

from zoo.case import Built, Expected, classes, faulty


def sigmoid_stack(width: int, depth: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


@faulty(Expected("vanishing-gradient"), "tiny")
def thirty_sigmoid_layers() -> Built:
    model = sigmoid_stack(32, 30, 4)
    return Built(model, (torch.randn(16, 32),), classes(4, 16), "cross_entropy", suffers=("0.weight", "2.weight"))


@faulty(Expected("vanishing-gradient"), "tiny")
def eighteen_sigmoid_layers_regression() -> Built:
    model = sigmoid_stack(48, 18, 1)
    return Built(model, (torch.randn(32, 48),), torch.randn(32, 1), "mse_loss", suffers=("0.weight",))


class LongRecurrence(nn.Module):
    """A plain tanh recurrence over many steps with contracting weights; only the first input matters."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.start = nn.Linear(8, 24)
        self.recur = nn.Linear(24, 24, bias=False)
        self.head = nn.Linear(24, 3)
        with torch.no_grad():
            nn.init.orthogonal_(self.recur.weight)
            self.recur.weight.mul_(gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.start(x)
        for _ in range(40):
            state = torch.tanh(self.recur(state))
        return self.head(state)


@faulty(Expected("vanishing-gradient"), "tiny")
def contracting_recurrence() -> Built:
    suffers = ("start.weight",)
    return Built(LongRecurrence(0.6), (torch.randn(16, 8),), classes(3, 16), "cross_entropy", suffers=suffers)


class Expanding(nn.Module):
    """Linear recurrence whose matrix stretches everything."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(8, 16)
        self.recur = nn.Linear(16, 16, bias=False)
        self.head = nn.Linear(16, 2)
        with torch.no_grad():
            nn.init.orthogonal_(self.recur.weight)
            self.recur.weight.mul_(1.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.start(x)
        for _ in range(30):
            state = self.recur(state)
        return self.head(state)


@faulty(Expected("exploding-gradient"), "told")
def expanding_recurrence() -> Built:
    return Built(Expanding(), (torch.randn(16, 8),), torch.randn(16, 2), "mse_loss")
