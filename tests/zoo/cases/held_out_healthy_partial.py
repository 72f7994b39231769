"""Healthy models with parts that are stopped, closed, pruned or hardly asked; rules were not made with these."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


def blobs(count: int, width: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows around one centre per class, and the classes."""
    labels = classes(count, rows)
    return torch.randn(count, width)[labels] + 0.5 * torch.randn(rows, width), labels


class StraightThrough(nn.Module):
    """Binary activations with a straight-through gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(10, 32)
        self.b = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.a(x))
        h = h + (torch.sign(h) - h).detach()
        return self.b(h)


@healthy()
def binary_units_with_straight_through() -> Built:
    x, y = blobs(4, 10, 32)
    return Built(StraightThrough(), (x,), y, "cross_entropy")


class Momentum(nn.Module):
    """An online network against a frozen target network, as in BYOL."""

    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Linear(9, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
        self.predictor = nn.Linear(8, 8)
        self.target = nn.Sequential(nn.Linear(9, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
        for parameter in self.target.parameters():
            parameter.requires_grad = False

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        guess = F.normalize(self.predictor(self.online(one)), dim=-1)
        with torch.no_grad():
            wanted = F.normalize(self.target(other), dim=-1)
        return 2 - 2 * (guess * wanted).sum(-1).mean()


@healthy()
def online_and_momentum_network() -> Built:
    x = torch.randn(32, 9)
    return Built(Momentum(), (x + 0.1 * torch.randn(32, 9), x), None, "model")


class ActorCritic(nn.Module):
    """Advantages are detached for the actor."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 32), nn.Tanh())
        self.policy = nn.Linear(32, 3)
        self.value = nn.Linear(32, 1)

    def forward(self, state: torch.Tensor, action: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        h = self.body(state)
        value = self.value(h).squeeze(1)
        advantage = (gain - value).detach()
        log_probability = F.log_softmax(self.policy(h), -1).gather(1, action.unsqueeze(1)).squeeze(1)
        probability = F.softmax(self.policy(h), -1)
        entropy = -(probability * torch.log(probability + 1e-8)).sum(-1).mean()
        return -(log_probability * advantage).mean() + 0.5 * F.mse_loss(value, gain) - 0.01 * entropy


@healthy()
def actor_and_critic() -> Built:
    state = torch.randn(40, 6)
    return Built(ActorCritic(), (state, classes(3, 40), 3 + state[:, 0]), None, "model")


class Sparse(nn.Module):
    """Bags of ids from a large table; most rows get no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(5000, 16, mode="mean")
        self.head = nn.Linear(16, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.bag(ids))


@healthy()
def a_few_rows_of_a_large_table() -> Built:
    return Built(Sparse(), (torch.randint(5000, (16, 6)),), classes(3, 16), "cross_entropy")


class Mixture(nn.Module):
    """Soft mixture of experts; one of them is nearly never asked."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 4)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)) for _ in range(4)])
        with torch.no_grad():
            self.gate.bias[3] = -6.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = F.softmax(self.gate(x), -1).unsqueeze(-1)
        return (torch.stack([expert(x) for expert in self.experts], 1) * weights).sum(1)


@healthy()
def mixture_with_a_shy_expert() -> Built:
    x, y = blobs(3, 8, 30)
    return Built(Mixture(), (x,), y, "cross_entropy")


class DeepResidual(nn.Module):
    """Sixty residual layers with LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 24), nn.GELU()) for _ in range(60)])
        self.head = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return self.head(F.layer_norm(x, (24,)))


@healthy()
def sixty_residual_layers() -> Built:
    x, y = blobs(3, 24, 18)
    return Built(DeepResidual(), (x,), y, "cross_entropy")


class Pruned(nn.Module):
    """Nine of ten weights are pruned away."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(20, 64)
        self.b = nn.Linear(64, 4)
        with torch.no_grad():
            self.a.weight.mul_((torch.rand_like(self.a.weight) > 0.8).float()).mul_(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.a(x)))


@healthy()
def pruned_first_layer() -> Built:
    x, y = blobs(4, 20, 32)
    return Built(Pruned(), (x,), y, "cross_entropy")


class Gated(nn.Module):
    """A highway whose gates start closed, by a bias of -2."""

    def __init__(self) -> None:
        super().__init__()
        self.carry = nn.ModuleList([nn.Linear(20, 20) for _ in range(6)])
        self.change = nn.ModuleList([nn.Linear(20, 20) for _ in range(6)])
        self.head = nn.Linear(20, 3)
        for gate in self.carry:
            nn.init.constant_(gate.bias, -2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for carry, change in zip(self.carry, self.change):  # noqa: B905 - TorchScript knows no `strict`
            gate = torch.sigmoid(carry(x))
            x = gate * F.relu(change(x)) + (1 - gate) * x
        return self.head(x)


@healthy()
def highway_with_closed_gates() -> Built:
    x, y = blobs(3, 20, 24)
    return Built(Gated(), (x,), y, "cross_entropy")


class Ensemble(nn.Module):
    """Members that share no weights, averaged; written as one batched product."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(5, 6, 24) * 0.4)
        self.second = nn.Parameter(torch.randn(5, 24, 1) * 0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(torch.einsum("bi,mih->mbh", x, self.first))
        return torch.einsum("mbh,mho->mbo", h, self.second).mean(0)


@healthy()
def batched_ensemble() -> Built:
    x = torch.randn(30, 6)
    return Built(Ensemble(), (x,), x[:, :1] * x[:, 1:2], "mse_loss")
