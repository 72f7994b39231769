"""Faulty combinations of output, loss and target."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


def mlp(outputs: int, *tail: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, outputs), *tail)


def x(batch: int = 32) -> torch.Tensor:
    return torch.randn(batch, 10)


@faulty(Expected("double-softmax", module="3"), "told")
def softmax_before_cross_entropy() -> Built:
    return Built(mlp(4, nn.Softmax(dim=1)), (x(),), classes(4, 32), "cross_entropy")


class SigmoidLogits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.body(x)).squeeze(1)


@faulty(Expected("double-softmax", op="aten::sigmoid", line="torch.sigmoid"), "told")
def sigmoid_before_bce_with_logits() -> Built:
    return Built(SigmoidLogits(), (x(),), torch.rand(32).round(), "binary_cross_entropy_with_logits")


@faulty(Expected("missing-softmax", name="loss"), "told")
def logits_into_nll() -> Built:
    return Built(mlp(5), (x(),), classes(5, 32), "nll_loss")


@faulty(Expected("missing-softmax", name="loss"), "raises")
def logits_into_binary_cross_entropy() -> Built:
    return Built(mlp(1), (x(),), torch.rand(32, 1).round(), "binary_cross_entropy")


@faulty(Expected("missing-softmax", name="loss"), "told")
def probabilities_into_kl_divergence() -> Built:
    y = torch.rand(32, 4).softmax(1)
    return Built(mlp(4), (x(),), y, "kl_div", {"reduction": "batchmean"})  # type: ignore[dict-item]  # a word


class Flipped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -F.mse_loss(self.body(x), y)


@faulty(Expected("unbounded-loss", name="loss"), "told")
def negative_squared_error() -> Built:
    return Built(Flipped(), (x(), torch.randn(32, 1)), None, "model")


class BatchSoftmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.body(x), dim=0)


@faulty(Expected("softmax-dimension", op="aten::log_softmax", line="dim=0"), "told")
def log_softmax_over_the_batch() -> Built:
    return Built(BatchSoftmax(), (x(),), classes(4, 32), "nll_loss")


class BatchAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(10, 1)
        self.value = nn.Linear(10, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(self.score(x), dim=0)
        return self.head((weights * self.value(x)).sum(1))


@faulty(Expected("softmax-dimension", op="aten::softmax", line="dim=0"), "told")
def pooling_weights_over_the_batch() -> Built:
    return Built(BatchAttention(), (torch.randn(8, 7, 10),), classes(3, 8), "cross_entropy")


@faulty(Expected("shape-broadcast", name="loss"), "told")
def column_against_vector() -> Built:
    return Built(mlp(1), (x(),), torch.randn(32), "mse_loss")


class Broadcasts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (self.body(x) - y).abs().mean()


@faulty(Expected("shape-broadcast", op="aten::sub", line="self.body(x) - y"), "told")
def column_minus_vector_inside_the_model() -> Built:
    return Built(Broadcasts(), (x(), torch.randn(32)), None, "model")


@faulty(Expected("target-out-of-range", name="target"), "raises")
def class_index_too_large() -> Built:
    y = classes(4, 32)
    y[7] = 4
    return Built(mlp(4), (x(),), y, "cross_entropy")


@faulty(Expected("target-out-of-range", name="target"), "told")
def binary_target_of_two() -> Built:
    return Built(mlp(1), (x(),), torch.full((32, 1), 2.0), "binary_cross_entropy_with_logits")


@faulty(Expected("target-mismatch", name="target"), "raises")
def float_classes() -> Built:
    return Built(mlp(4), (x(),), classes(4, 32).float(), "cross_entropy")


@faulty(Expected("target-mismatch", name="target"), "raises")
def one_hot_where_indices_are_needed() -> Built:
    return Built(mlp(4, nn.LogSoftmax(dim=1)), (x(),), F.one_hot(classes(4, 32), 4), "nll_loss")


@faulty(Expected("constant-target", name="target"), "told")
def one_class_only() -> Built:
    return Built(mlp(4), (x(),), torch.full((32,), 2), "cross_entropy")


@faulty(Expected("constant-target", name="target"), "told")
def regression_of_a_constant() -> Built:
    return Built(mlp(1), (x(),), torch.full((32, 1), 3.5), "mse_loss")


@faulty(Expected("class-imbalance", name="target"), "told")
def one_positive_in_a_hundred() -> Built:
    y = torch.zeros(128, 1)
    y[5] = 1.0
    return Built(mlp(1), (x(128),), y, "binary_cross_entropy_with_logits")


@faulty(Expected("output-activation-mismatch", module="3"), "told")
def sigmoid_output_for_large_targets() -> Built:
    return Built(mlp(1, nn.Sigmoid()), (x(),), torch.randn(32, 1) * 20 + 50, "mse_loss")


class PositiveOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) + 1.0)


@faulty(Expected("output-activation-mismatch", op="aten::relu", line="F.relu"), "told")
def relu_output_for_negative_targets() -> Built:
    return Built(PositiveOnly(), (x(),), -torch.rand(32, 1) * 5 - 1, "l1_loss")
