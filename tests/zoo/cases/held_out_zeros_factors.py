"""Weights, inputs and factors of zero, and copied units, that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Factors(nn.Module):
    """Matrix factorisation with both factors at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.users = nn.Embedding(40, 6)
        self.items = nn.Embedding(60, 6)
        self.mean = nn.Parameter(torch.zeros(()))
        nn.init.zeros_(self.users.weight)
        nn.init.zeros_(self.items.weight)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        return (self.users(user) * self.items(item)).sum(1) + self.mean


@faulty(Expected("zero-weights", parameter=("users.weight", "items.weight")), "zero")
def both_factors_at_zero() -> Built:
    inputs = (torch.randint(0, 40, (64,)), torch.randint(0, 60, (64,)))
    suffers = ("users.weight", "items.weight")
    return Built(Factors(), inputs, torch.randn(64) + 3, "mse_loss", suffers=suffers)


class TwiceZero(nn.Module):
    """ReZero on a branch whose last layer is zero as well."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(10, 16)
        self.body = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.alpha = nn.Parameter(torch.zeros(1))
        self.head = nn.Linear(16, 3)
        nn.init.zeros_(self.body[3].weight)
        nn.init.zeros_(self.body[3].bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head(x + self.alpha * self.body(x))


@faulty(Expected("zero-weights", parameter=("alpha", "body.3.weight")), "zero")
def zero_gate_on_a_zero_branch() -> Built:
    suffers = ("alpha", "body.3.weight", "body.1.weight")
    return Built(TwiceZero(), (torch.randn(20, 10),), classes(3, 20), "cross_entropy", suffers=suffers)


class TwoModalities(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Conv2d(3, 8, 3)
        self.sound = nn.Conv1d(2, 8, 3)
        self.head = nn.Linear(16, 4)

    def forward(self, image: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
        seen = F.relu(self.image(image)).mean((2, 3))
        heard = F.relu(self.sound(sound)).mean(2)
        return self.head(torch.cat([seen, heard], dim=1))


@faulty(Expected("zero-input", parameter="sound.weight"), "zero")
def missing_modality_filled_with_zeros() -> Built:
    inputs = (torch.randn(12, 3, 8, 8), torch.zeros(12, 2, 30))
    return Built(TwoModalities(), inputs, classes(4, 12), "cross_entropy", suffers=("sound.weight",))


class OneStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(5, 16)
        self.recur = nn.Linear(16, 16)
        self.out = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 16)
        for t in range(x.shape[1]):
            h = torch.tanh(self.into(x[:, t]) + self.recur(h))
        return self.out(h)


@faulty(Expected("zero-input", parameter="recur.weight"), "zero")
def sequence_of_one_step() -> Built:
    return Built(OneStep(), (torch.randn(20, 1, 5),), classes(2, 20), "cross_entropy", suffers=("recur.weight",))


@faulty(Expected("symmetric-weights", parameter=("0.weight", "2.weight")), "told")
def every_parameter_set_to_one_constant() -> Built:
    model = nn.Sequential(nn.Linear(9, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 2))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.05)
    built = Built(model, (torch.randn(32, 9),), classes(2, 32), "cross_entropy")
    return _with(built, lambda: _rows_get_the_same_gradient(built, model[0].weight))


def _with(built: Built, shown: object) -> Built:
    built.shown = shown  # type: ignore[assignment]
    return built


def _rows_get_the_same_gradient(built: Built, weight: torch.Tensor) -> bool:
    loss = F.cross_entropy(built.model(*built.inputs), built.target)
    (gradient,) = torch.autograd.grad(loss, weight)
    return bool(torch.allclose(gradient, gradient[:1].expand_as(gradient), rtol=1e-4, atol=1e-9))


class Curriculum(nn.Module):
    """The second branch's weight is still zero."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Linear(8, 12)
        self.far = nn.Linear(8, 12)
        self.head = nn.Linear(12, 3)
        self.register_buffer("share", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.near(x)) + self.share * torch.tanh(self.far(x)))


@faulty(Expected("zero-multiplier", op="aten::mul", line="self.share *"), "zero")
def branch_weighted_by_a_zero_buffer() -> Built:
    suffers = ("far.weight", "far.bias")
    return Built(Curriculum(), (torch.randn(24, 8),), classes(3, 24), "cross_entropy", suffers=suffers)


class IdleTask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(8, 16)
        self.one = nn.Linear(16, 3)
        self.two = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor, kind: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.trunk(x))
        extra = F.mse_loss(self.two(h), size)
        return F.cross_entropy(self.one(h), kind) + 0.0 * extra


@faulty(Expected("zero-multiplier", op="aten::mul", line="0.0 * extra"), "zero")
def task_with_a_weight_of_zero() -> Built:
    inputs = (torch.randn(24, 8), classes(3, 24), torch.randn(24, 1))
    return Built(IdleTask(), inputs, None, "model", suffers=("two.weight", "two.bias"))
