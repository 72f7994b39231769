"""Healthy networks for tables, decisions and pairs as people write them at work; written before any rule saw them."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


@healthy()
def time_embedding_multiplied_by_python_numbers() -> Built:
    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inp = nn.Linear(2, 32)
            self.time = nn.Linear(16, 32)
            self.out = nn.Linear(32, 2)

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            half = 8
            rates = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
            angles = t[:, None] * rates[None] * 1000.0
            code = torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
            return self.out(F.silu(self.inp(x) * 0.7 + self.time(code)))

    x = torch.randn(32, 2)
    return Built(Denoiser(), (x, torch.rand(32)), torch.randn(32, 2), "mse_loss")


@healthy()
def double_statistics_in_a_single_precision_model() -> Built:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 12)
            self.out = nn.Linear(12, 1)
            self.mean = 0.3
            self.deviation = 1.7

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = (x - self.mean) / self.deviation
            scale = math.sqrt(x.shape[-1])
            return self.out(F.elu(self.fc(x) / scale)) * self.deviation + self.mean

    return Built(Scaled(), (torch.randn(16, 6),), torch.randn(16, 1), "mse_loss")


@healthy()
def wide_and_deep_recommender() -> Built:
    class WideDeep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.users = nn.Embedding(5000, 8)
            self.items = nn.Embedding(9000, 8)
            self.wide = nn.Linear(10, 1)
            self.deep = nn.Sequential(nn.Linear(26, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1))

        def forward(self, user: torch.Tensor, item: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            joined = torch.cat([self.users(user), self.items(item), x], dim=-1)
            return (self.wide(x) + self.deep(joined)).squeeze(-1)

    inputs = (torch.randint(0, 5000, (32,)), torch.randint(0, 9000, (32,)), torch.randn(32, 10))
    return Built(WideDeep(), inputs, (torch.arange(32) % 3 == 0).float(), "binary_cross_entropy_with_logits")


@healthy()
def actor_and_critic_with_shared_body() -> Built:
    class ActorCritic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
            self.policy = nn.Linear(32, 4)
            self.value = nn.Linear(32, 1)
            nn.init.orthogonal_(self.policy.weight, 0.01)

        def forward(self, state: torch.Tensor, action: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
            h = self.body(state)
            log_prob = F.log_softmax(self.policy(h), dim=-1)
            value = self.value(h).squeeze(-1)
            advantage = (returns - value).detach()
            chosen = log_prob.gather(1, action.unsqueeze(1)).squeeze(1)
            entropy = -(log_prob.exp() * log_prob).sum(-1).mean()
            return -(chosen * advantage).mean() + 0.5 * F.mse_loss(value, returns) - 0.01 * entropy

    inputs = (torch.randn(24, 6), torch.randint(0, 4, (24,)), torch.randn(24) + 2.0)
    return Built(ActorCritic(), inputs, None, "model")


@healthy()
def q_learning_with_a_gathered_action() -> Built:
    class QLearning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 4))

        def forward(
            self, state: torch.Tensor, action: torch.Tensor, reward: torch.Tensor, after: torch.Tensor
        ) -> torch.Tensor:
            chosen = self.net(state).gather(1, action.unsqueeze(1)).squeeze(1)
            with torch.no_grad():
                best = reward + 0.99 * self.net(after).max(dim=1)[0]
            return F.smooth_l1_loss(chosen, best)

    inputs = (torch.randn(24, 6), torch.randint(0, 4, (24,)), torch.randn(24), torch.randn(24, 6))
    return Built(QLearning(), inputs, None, "model")


@healthy()
def straight_through_binarised_network() -> Built:
    class Binary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(10, 32)
            self.fc2 = nn.Linear(32, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.fc1.weight
            binary = weight + (torch.sign(weight) - weight).detach()
            h = F.linear(x, binary, self.fc1.bias) / math.sqrt(10)
            return self.fc2(F.hardtanh(h))

    return Built(Binary(), (torch.randn(16, 10),), classes(3, 16), "cross_entropy")


@healthy()
def physics_residual_with_a_scaled_loss() -> Built:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

        def forward(self, t: torch.Tensor) -> torch.Tensor:
            step = 1e-2
            slope = (self.net(t + step) - self.net(t - step)) / (2 * step)
            return ((slope + self.net(t)) ** 2).mean() + (self.net(torch.zeros(1, 1)) - 1).pow(2).mean()

    return Built(Residual(), (torch.rand(32, 1) * 2,), None, "model")


@healthy()
def hundred_and_twenty_residual_layers() -> Built:
    class Long(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inp = nn.Linear(8, 16)
            self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in range(120)])
            self.norm = nn.LayerNorm(16)
            self.out = nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.inp(x)
            for layer in self.layers:
                x = x + 0.1 * F.relu(layer(x))
            return self.out(self.norm(x))

    return Built(Long(), (torch.randn(16, 8),), classes(3, 16), "cross_entropy")


@healthy()
def message_passing_with_scatter() -> Built:
    class Passing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.message = nn.Linear(16, 16)
            self.update = nn.GRUCell(16, 8)
            self.back = nn.Linear(8, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor, source: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
            for _ in range(2):
                sent = F.relu(self.message(torch.cat([x[source], x[goal]], dim=-1)))
                gathered = torch.zeros(x.size(0), 16).index_add(0, goal, sent)
                x = self.update(gathered, x)
            return self.head(self.back(x).relu())

    inputs = (torch.randn(10, 8), torch.randint(0, 10, (30,)), torch.randint(0, 10, (30,)))
    return Built(Passing(), inputs, classes(3, 10), "cross_entropy")


@healthy()
def survival_model_with_cox_likelihood() -> Built:
    class Cox(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.SELU(), nn.Linear(16, 1))

        def forward(self, x: torch.Tensor, event: torch.Tensor) -> torch.Tensor:
            risk = self.net(x).squeeze(-1)
            return -((risk - torch.logcumsumexp(risk, dim=0)) * event).sum() / event.sum()

    return Built(Cox(), (torch.randn(24, 8), (torch.rand(24) > 0.4).float()), None, "model")


@healthy()
def hand_made_layer_norm_and_softmax() -> Built:
    class HandMade(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(10, 20)
            self.scale = nn.Parameter(torch.ones(20))
            self.shift = nn.Parameter(torch.zeros(20))
            self.fc2 = nn.Linear(20, 4)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            h = self.fc1(x)
            h = (h - h.mean(-1, keepdim=True)) / (h.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
            scores = self.fc2(F.gelu(h * self.scale + self.shift))
            scores = scores - scores.amax(-1, keepdim=True)
            log_prob = scores - scores.exp().sum(-1, keepdim=True).log()
            return -log_prob.gather(1, y.unsqueeze(1)).mean()

    return Built(HandMade(), (torch.randn(16, 10), classes(4, 16)), None, "model")


@healthy()
def normalised_embeddings_with_learned_temperature() -> Built:
    class ClipLike(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = nn.Linear(20, 16)
            self.text = nn.Linear(12, 16)
            self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

        def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
            a = self.image(image)
            b = self.text(text)
            a = a / a.norm(p=2.0, dim=-1, keepdim=True)
            b = b / b.norm(p=2.0, dim=-1, keepdim=True)
            scores = self.log_scale.exp() * a @ b.t()
            labels = torch.arange(scores.size(0))
            return (F.cross_entropy(scores, labels) + F.cross_entropy(scores.t(), labels)) / 2

    return Built(ClipLike(), (torch.randn(12, 20), torch.randn(12, 12)), None, "model")


@healthy()
def zero_initialised_convolution_of_a_control_branch() -> Built:
    class Controlled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 8, 3, padding=1)
            self.control = nn.Conv2d(1, 8, 3, padding=1)
            self.zero = nn.Conv2d(8, 8, 1)
            self.out = nn.Conv2d(8, 3, 3, padding=1)
            nn.init.zeros_(self.zero.weight)
            nn.init.zeros_(self.zero.bias)

        def forward(self, x: torch.Tensor, hint: torch.Tensor) -> torch.Tensor:
            h = F.silu(self.body(x))
            return self.out(h + self.zero(F.silu(self.control(hint))))

    inputs = (torch.randn(6, 3, 8, 8), torch.randn(6, 1, 8, 8))
    return Built(Controlled(), inputs, torch.randn(6, 3, 8, 8), "mse_loss")
