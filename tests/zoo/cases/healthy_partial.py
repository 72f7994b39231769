"""Healthy networks part of which learns otherwise: frozen, stopped, passed straight through, adapted."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class StraightThrough(nn.Module):
    """VQ-VAE with the straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(10, 6)
        self.decode = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encode(x)
        z = z + (z.round() - z).detach()
        return self.decode(z)


@healthy()
def straight_through_rounding() -> Built:
    x = torch.randn(64, 10) * 3
    return Built(StraightThrough(), (x,), x.clone(), "mse_loss")


class StopGradientTarget(nn.Module):
    """BYOL-like: the target branch is detached on purpose; its weights also learn through the online branch."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 8))
        self.predict = nn.Linear(8, 8)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        online = self.predict(self.encode(a))
        target = self.encode(b).detach()
        return (online - target).square().mean()


@healthy()
def stop_gradient_target() -> Built:
    x = torch.randn(32, 12)
    return Built(StopGradientTarget(), (x, x + torch.randn(32, 12) / 10), None, "model")


class FrozenBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        for parameter in self.backbone.parameters():
            parameter.requires_grad = False
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))


@healthy()
def frozen_backbone() -> Built:
    return Built(FrozenBackbone(), (torch.randn(32, 16),), classes(4, 32), "cross_entropy")


class Lora(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(16, 16)
        self.base.weight.requires_grad = False
        self.base.bias.requires_grad = False
        self.down = nn.Parameter(torch.randn(16, 4) / 4)
        self.up = nn.Parameter(torch.zeros(4, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + x @ self.down @ self.up


@healthy()
def lora_with_zero_up_projection() -> Built:
    return Built(Lora(), (torch.randn(32, 16),), torch.randn(32, 16), "mse_loss")


class SoftExperts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 3)
        self.experts = nn.ModuleList([nn.Linear(8, 4) for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.gate(x).softmax(1)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)
        return (weights.unsqueeze(2) * outputs).sum(1)


@healthy()
def soft_mixture_of_experts() -> Built:
    return Built(SoftExperts(), (torch.randn(32, 8),), torch.randn(32, 4), "mse_loss")


class Recommender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users = nn.Embedding(1000, 16)
        self.items = nn.Embedding(5000, 16)
        self.bias = nn.Embedding(5000, 1)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        return (self.users(user) * self.items(item)).sum(1) + self.bias(item).squeeze(1)


@healthy()
def recommender_with_sparse_rows() -> Built:
    inputs = (torch.randint(0, 1000, (64,)), torch.randint(0, 5000, (64,)))
    return Built(Recommender(), inputs, torch.rand(64).round(), "binary_cross_entropy_with_logits")


class GraphConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, source: torch.Tensor, destination: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.first(x))
        gathered = torch.zeros_like(h).index_add(0, destination, h[source])
        return self.second(h + gathered)


@healthy()
def graph_convolution() -> Built:
    edges = torch.randint(0, 30, (2, 80))
    return Built(GraphConvolution(), (torch.randn(30, 8), edges[0], edges[1]), classes(3, 30), "cross_entropy")
