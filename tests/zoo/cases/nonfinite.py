"""Faulty models that make NaN or infinity."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 20), nn.GELU(), nn.Linear(20, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@faulty(Expected("non-finite-input", name="input:0"), "non-finite")
def nan_in_the_input() -> Built:
    x = torch.randn(16, 10)
    x[5, 3] = float("nan")
    return Built(Classifier(), (x,), classes(4, 16), "cross_entropy", suffers=("body.0.weight",))


@faulty(Expected("non-finite-input", name="target"), "non-finite")
def infinity_in_the_target() -> Built:
    y = torch.randn(16, 4)
    y[2] = float("inf")
    return Built(Classifier(), (torch.randn(16, 10),), y, "mse_loss", suffers=("body.2.weight",))


class LogOfRelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(10, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        energy = F.relu(self.body(x))
        return self.head(torch.log(energy))


@faulty(Expected("non-finite-forward", op="aten::log", line="torch.log(energy)"), "non-finite")
def log_of_relu() -> Built:
    return Built(LogOfRelu(), (torch.randn(8, 10),), classes(3, 8), "cross_entropy", suffers=("head.weight",))


class ManualSoftmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 5)
        self.out = nn.Linear(5, 2)
        with torch.no_grad():
            self.score.weight.mul_(2000.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        e = self.score(x).exp()
        return self.out(e / e.sum(1, keepdim=True))


@faulty(Expected("non-finite-forward", op="aten::exp", line=".exp()"), "non-finite")
def softmax_written_by_hand_overflows() -> Built:
    return Built(ManualSoftmax(), (torch.randn(8, 6),), classes(2, 8), "cross_entropy", suffers=("score.weight",))


class Standardised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - x.mean(0)) / (x.max(0)[0] - x.min(0)[0])
        return self.body(x)


@faulty(Expected("non-finite-forward", op="aten::div"), "non-finite")
def scaling_of_a_constant_feature() -> Built:
    x = torch.randn(16, 7)
    x[:, 4] = 1.5
    return Built(Standardised(), (x,), classes(3, 16), "cross_entropy", suffers=("body.weight",))


class MaskedAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(16, 16)
        self.key = nn.Linear(16, 16)
        self.value = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 4.0
        scores = scores.masked_fill(mask.unsqueeze(1) == 0, float("-inf"))
        weights = torch.softmax(scores, dim=-1)
        return self.head((weights @ self.value(x)).mean(1))


@faulty(Expected("non-finite-forward", op="aten::softmax", line="torch.softmax"), "non-finite")
def fully_masked_attention_row() -> Built:
    mask = torch.ones(6, 5)
    mask[2] = 0
    inputs = (torch.randn(6, 5, 16), mask)
    return Built(MaskedAttention(), inputs, classes(4, 6), "cross_entropy", suffers=("value.weight",))


class Distances(nn.Module):
    """Metric learning with an explicit square root; a pair is identical."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        difference = self.embed(a) - self.embed(b)
        return torch.sqrt((difference**2).sum(1))


@faulty(Expected("non-finite-backward", op="aten::sqrt", line="torch.sqrt"), "non-finite")
def square_root_of_a_zero_distance() -> Built:
    a, b = torch.randn(8, 8), torch.randn(8, 8)
    b[3] = a[3]
    return Built(Distances(), (a, b), torch.rand(8), "mse_loss", suffers=("embed.0.weight",))


class SafeRoot(nn.Module):
    """The `where` trap: the branch that is not taken still has an infinite derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6, bias=False)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x).square()
        safe = torch.where(h > 0, torch.sqrt(h), torch.zeros_like(h))
        return self.head(safe)


@faulty(Expected("non-finite-backward", op="aten::sqrt", line="torch.sqrt(h)"), "non-finite")
def where_hides_an_infinite_derivative() -> Built:
    x = torch.randn(8, 6)
    x[4] = 0  # a padded sample
    return Built(SafeRoot(), (x,), classes(2, 8), "cross_entropy", suffers=("body.weight",))


class NormOfZeros(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(5, 5, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        return h.pow(2).sum(1).pow(0.5)


@faulty(Expected("non-finite-backward", op="aten::pow", line="pow(0.5)"), "non-finite")
def power_one_half_of_an_all_zero_row() -> Built:
    x = torch.randn(8, 5)
    x[6] = 0
    return Built(NormOfZeros(), (x,), torch.rand(8), "mse_loss", suffers=("body.weight",))
