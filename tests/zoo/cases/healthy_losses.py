"""Healthy networks with a loss of their own: likelihoods, several tasks, a tiny scale."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(20, 32)
        self.mean = nn.Linear(32, 4)
        self.log_variance = nn.Linear(32, 4)
        self.decode = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 20))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.encode(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        rebuilt = self.decode(mean + noise * torch.exp(0.5 * log_variance))
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        return F.mse_loss(rebuilt, x) + 0.01 * divergence


@healthy()
def variational_autoencoder() -> Built:
    return Built(Variational(), (torch.randn(64, 20), torch.randn(64, 4)), None, "model")


class GaussianLikelihood(nn.Module):
    """A negative loss is fine for a density."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        mean, log_scale = self.body(x).unbind(1)
        return (log_scale + 0.5 * ((y - mean) * torch.exp(-log_scale)) ** 2).mean()


@healthy()
def gaussian_likelihood() -> Built:
    x = torch.randn(64, 6)
    return Built(GaussianLikelihood(), (x, x[:, 0] * 0.1), None, "model")


class TinyLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.body(x), y) * 1e-6


@healthy()
def loss_scaled_by_a_millionth() -> Built:
    return Built(TinyLoss(), (torch.randn(32, 10), torch.randn(32, 1)), None, "model")


class Multitask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 32), nn.ReLU())
        self.kind = nn.Linear(32, 4)
        self.size = nn.Linear(32, 1)

    def forward(self, x: torch.Tensor, kind: torch.Tensor, size: torch.Tensor) -> dict[str, torch.Tensor]:
        h = self.trunk(x)
        loss = F.cross_entropy(self.kind(h), kind) + F.mse_loss(self.size(h), size)
        return {"loss": loss}


@healthy("script")
def multitask_with_its_own_loss() -> Built:
    return Built(Multitask(), (torch.randn(32, 10), classes(4, 32), torch.randn(32, 1)), None, "model")
