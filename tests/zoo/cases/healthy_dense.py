"""Healthy networks of dense layers: perceptrons, autoencoders, what pruning and dropout leave."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


@healthy()
def mlp_with_relu() -> Built:
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    return Built(model, (torch.randn(32, 20),), classes(5, 32), "cross_entropy")


@healthy()
def linear_regression() -> Built:
    x = torch.randn(64, 10)
    return Built(nn.Linear(10, 1), (x,), x[:, :1] * 3 + 1, "mse_loss")


@healthy()
def eight_relu_layers() -> Built:
    layers: list[nn.Module] = []
    for _ in range(8):
        layers += [nn.Linear(48, 48), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
    model = nn.Sequential(*layers, nn.Linear(48, 3))
    return Built(model, (torch.randn(64, 48),), classes(3, 64), "cross_entropy")


@healthy()
def six_relu_layers_with_default_initialisation() -> Built:
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(40, 40), nn.ReLU()]
    return Built(nn.Sequential(*layers, nn.Linear(40, 3)), (torch.randn(64, 40),), classes(3, 64), "cross_entropy")


@healthy()
def two_sigmoid_layers() -> Built:
    model = nn.Sequential(nn.Linear(12, 24), nn.Sigmoid(), nn.Linear(24, 24), nn.Sigmoid(), nn.Linear(24, 2))
    return Built(model, (torch.randn(32, 12),), classes(2, 32), "cross_entropy")


@healthy()
def tanh_autoencoder() -> Built:
    model = nn.Sequential(
        nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 16)
    )
    x = torch.randn(64, 16)
    return Built(model, (x,), x.clone(), "mse_loss")


@healthy()
def head_initialised_to_zero() -> Built:
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    return Built(model, (torch.randn(32, 10),), classes(4, 32), "cross_entropy")


class Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@healthy("script")
def half_dropout() -> Built:
    return Built(Dropped(), (torch.randn(64, 20),), classes(3, 64), "cross_entropy")


class Pruned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(16, 32)
        self.head = nn.Linear(32, 3)
        with torch.no_grad():
            self.body.weight.mul_((torch.rand_like(self.body.weight) > 0.9).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.body(x)))


@healthy()
def pruned_weights() -> Built:
    return Built(Pruned(), (torch.randn(32, 16),), classes(3, 32), "cross_entropy")


@healthy()
def log_softmax_before_cross_entropy() -> Built:
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 4), nn.LogSoftmax(dim=1))
    return Built(model, (torch.randn(32, 10),), classes(4, 32), "cross_entropy")
