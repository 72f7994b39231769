"""Losses that are modules of their own, sent beside the model."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty, healthy


def net(outputs: int, *tail: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 22), nn.ReLU(), nn.Linear(22, outputs), *tail)


def x(batch: int = 28) -> torch.Tensor:
    return torch.randn(batch, 8)


class Likelihood(nn.Module):
    """Forgets the minus of the log-likelihood."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return output.log_softmax(1).gather(1, target.unsqueeze(1)).mean()


@faulty(Expected("unbounded-loss", name="loss"), "told")
def module_without_its_minus() -> Built:
    return Built(net(4), (x(),), classes(4, 28), Likelihood())


class Squares(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return ((output - target) ** 2).mean()


@faulty(Expected("shape-broadcast", name="loss", line="output - target"), "told")
def module_of_column_and_vector() -> Built:
    return Built(net(1), (x(),), torch.randn(28), Squares())


@faulty(Expected("output-activation-mismatch", module="3"), "told")
def module_mse_of_a_sigmoid() -> Built:
    return Built(net(1, nn.Sigmoid()), (x(),), torch.randn(28, 1) * 5 + 30, nn.MSELoss())


@faulty(Expected("double-softmax", module="3"), "told")
def module_cross_entropy_of_probabilities() -> Built:
    return Built(net(4, nn.Softmax(dim=1)), (x(),), classes(4, 28), nn.CrossEntropyLoss(label_smoothing=0.05))


@faulty(Expected("missing-softmax", name="loss"), "told")
def module_nll_of_scores() -> Built:
    return Built(net(4), (x(),), classes(4, 28), nn.NLLLoss())


@faulty(Expected("target-out-of-range", name="target"), "raises")
def module_with_a_class_too_many() -> Built:
    return Built(net(4), (x(),), classes(5, 28), nn.CrossEntropyLoss())


@faulty(Expected("target-mismatch", name="target"), "raises")
def module_with_float_classes() -> Built:
    return Built(net(4), (x(),), classes(4, 28).float(), nn.CrossEntropyLoss())


@faulty(Expected("constant-target", name="target"), "told")
def module_with_one_class() -> Built:
    return Built(net(4), (x(),), torch.full((28,), 3), nn.CrossEntropyLoss())


class Focal(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        each = F.cross_entropy(output, target, reduction="none")
        return ((1 - torch.exp(-each)) ** 2 * each).mean()


@faulty(Expected("class-imbalance", name="target"), "told")
def module_with_a_rare_class() -> Built:
    y = torch.zeros(100, dtype=torch.int64)
    y[3] = 2
    return Built(net(4), (x(100),), y, Focal())


class Hinge(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.relu(0.1 - output.squeeze(1) * target).mean()


@faulty(Expected("flat-loss", name="loss"), "zero")
def module_hinge_beyond_its_margin() -> Built:
    model = net(1)
    with torch.no_grad():
        model[2].bias.fill_(20.0)
    return Built(model, (x(),), torch.ones(28), Hinge(), suffers=("0.weight", "2.weight"))


# What looks alike and is fine.


@healthy()
def module_focal_loss() -> Built:
    return Built(net(4), (x(),), classes(4, 28), Focal())


@healthy()
def module_hinge_loss() -> Built:
    return Built(net(1), (x(),), classes(2, 28).float() * 2 - 1, Hinge())


class Gaussian(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        mean, log_variance = output[:, 0], output[:, 1]
        return 0.5 * (log_variance + (target - mean).square() / log_variance.exp()).mean()


@healthy()
def module_gaussian_likelihood() -> Built:
    return Built(net(2), (x(),), torch.randn(28) / 5, Gaussian())


class Dice(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        p = torch.sigmoid(output).flatten(1)
        overlap = (p * target.flatten(1)).sum(1)
        return 1 - (2 * overlap / (p.sum(1) + target.flatten(1).sum(1) + 1e-6)).mean()


@healthy()
def module_dice_loss() -> Built:
    model = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    return Built(model, (torch.randn(4, 2, 10, 10),), (torch.rand(4, 1, 10, 10) > 0.7).float(), Dice())


class Quantiles(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        levels = torch.tensor([0.1, 0.5, 0.9], device=output.device)
        error = target.unsqueeze(1) - output
        return torch.maximum(levels * error, (levels - 1) * error).mean()


@healthy()
def module_of_quantiles() -> Built:
    return Built(net(3), (x(),), torch.randn(28), Quantiles())
