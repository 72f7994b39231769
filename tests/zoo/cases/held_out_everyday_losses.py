"""Faults of losses and targets as they happen on an ordinary day, in models that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Ranked(nn.Module):
    """A margin that every pair keeps already."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))

    def forward(self, better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        gap = self.score(better) - self.score(worse)
        return F.relu(gap - 50.0).mean()


@faulty(Expected("flat-loss", name="loss"), "zero")
def margin_that_nobody_breaks() -> Built:
    return Built(
        Ranked(), (torch.randn(12, 6), torch.randn(12, 6)), None, "model", suffers=("score.0.weight", "score.2.weight")
    )


class Classifier(nn.Module):
    """Ends with a softmax, as an inference model does."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(7, 20, batch_first=True)
        self.head = nn.Linear(20, 4)
        self.final = nn.Softmax(dim=-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.final(self.head(self.lstm(x)[0][:, -1]))


@faulty(Expected("double-softmax", op="aten::softmax"), "told")
def lstm_classifier_with_softmax() -> Built:
    return Built(Classifier(), (torch.randn(12, 9, 7),), classes(4, 12), "cross_entropy")


@faulty(Expected("missing-softmax", name="loss"), "told")
def nll_on_logits_of_a_convolution() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    return Built(model, (torch.randn(8, 3, 10, 10),), classes(4, 8), "nll_loss")


class Reward(nn.Module):
    """A squared error, negated as if it were a reward."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        error = F.mse_loss(self.net(x), y)
        return -error


@faulty(Expected("unbounded-loss", name="loss"), "told")
def error_with_the_sign_of_a_reward() -> Built:
    return Built(Reward(), (torch.randn(20, 5), torch.randn(20, 1)), None, "model")


class BatchSoftmax(nn.Module):
    """Softmax over dim 0 because the tutorial had no batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.net(x), dim=0)


@faulty(Expected("softmax-dimension", op="aten::log_softmax"), "told")
def log_softmax_over_the_batch() -> Built:
    return Built(BatchSoftmax(), (torch.randn(15, 8),), classes(5, 15), "nll_loss")


@faulty(Expected("shape-broadcast"), "told")
def regression_against_a_flat_target() -> Built:
    model = nn.Sequential(nn.Linear(9, 30), nn.SiLU(), nn.Linear(30, 1))
    return Built(model, (torch.randn(25, 9),), torch.randn(25), "smooth_l1_loss")


@faulty(Expected("target-out-of-range", name="target"), "raises")
def labels_counted_from_one() -> Built:
    model = nn.Sequential(nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 6))
    return Built(model, (torch.randn(18, 9),), classes(6, 18) + 1, "cross_entropy")


@faulty(Expected("target-mismatch", name="target"), "raises")
def labels_as_floats() -> Built:
    model = nn.Sequential(nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 6))
    return Built(model, (torch.randn(18, 9),), classes(6, 18).float(), "cross_entropy")


@faulty(Expected("constant-target", name="target"), "told")
def every_label_the_same() -> Built:
    model = nn.Sequential(nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 6))
    return Built(model, (torch.randn(18, 9),), torch.full((18,), 2), "cross_entropy")


@faulty(Expected("class-imbalance", name="target"), "told")
def one_in_a_hundred() -> Built:
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 1), nn.Flatten(0))
    target = torch.zeros(128)
    target[5] = 1.0
    return Built(model, (torch.randn(128, 6),), target, "binary_cross_entropy_with_logits")


class Temperature(nn.Module):
    """Regresses degrees Celsius through a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 16, batch_first=True)
        self.out = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.out(self.gru(x)[0][:, -1]))


@faulty(Expected("output-activation-mismatch", op="aten::sigmoid"), "told")
def degrees_through_a_sigmoid() -> Built:
    return Built(Temperature(), (torch.randn(20, 12, 3),), 15 + 8 * torch.randn(20, 1), "mse_loss")
