"""Faulty models whose gradient is missing because a value is overwritten, shadowed, or not in the loss at all."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Zeroed(nn.Module):
    """The features are computed and then filled with zeros in place."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.body(x))
        h = h * 2.0
        h.zero_()
        return self.head(h)


@faulty(Expected("overwritten-value", op="aten::zero_", line="zero_()"), "zero")
def features_zeroed_in_place() -> Built:
    return Built(Zeroed(), (torch.randn(16, 8),), classes(3, 16), "cross_entropy", suffers=("body.weight",))


class Copied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.body(x) + 0.0
        h.copy_(x)
        return self.head(h)


@faulty(Expected("overwritten-value", op="aten::copy_", line="copy_"), "zero")
def features_overwritten_by_the_input() -> Built:
    return Built(Copied(), (torch.randn(16, 8),), torch.randn(16, 2), "mse_loss", suffers=("body.weight",))


class SliceOverwritten(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 4)
        self.right = nn.Linear(6, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.left(x), self.right(x)], dim=1)
        both[:, 4:] = x[:, :4]
        return self.head(both)


@faulty(Expected("overwritten-value", op="aten::copy_", line="both[:, 4:] ="), "zero")
def half_of_the_features_overwritten() -> Built:
    model = SliceOverwritten()
    return Built(model, (torch.randn(16, 6),), classes(3, 16), "cross_entropy", suffers=("right.weight",))


class Shadowed(nn.Module):
    """Forward uses a buffer that was cloned from the parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6))
        self.register_buffer("kernel", self.weight.detach().clone())
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(x @ self.kernel.t()))


@faulty(Expected("shadowed-parameter", parameter="weight"), "none")
def buffer_cloned_from_the_parameter() -> Built:
    return Built(Shadowed(), (torch.randn(16, 6),), classes(2, 16), "cross_entropy", suffers=("weight",))


class Unrelated(nn.Module):
    """The loss is computed from the target alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (y * y).mean(), self.body(x)


@faulty(Expected("loss-disconnected", name="loss"), "none")
def loss_of_the_target_alone() -> Built:
    inputs = (torch.randn(8, 6), torch.randn(8, 3))
    return Built(Unrelated(), inputs, None, "model", suffers=("body.weight",), output="0")
