"""Healthy models of tables, losses and inputs of every kind that rules were not made with."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class ClickModel(nn.Module):
    """DLRM-like: embeddings, a dense tower, pairwise dot products."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(rows, 8) for rows in (1000, 50, 20000)])
        self.dense = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(8 + 6, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, dense: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        bottom = self.dense(dense)
        vectors = [bottom]
        for i, table in enumerate(self.tables):
            vectors.append(table(ids[:, i]))
        stacked = torch.stack(vectors, dim=1)
        products = torch.bmm(stacked, stacked.transpose(1, 2))
        pairs = torch.triu_indices(4, 4, offset=1)
        return self.top(torch.cat([bottom, products[:, pairs[0], pairs[1]]], dim=1)).squeeze(1)


@healthy()
def click_model_with_pairwise_products() -> Built:
    ids = torch.stack([torch.randint(0, rows, (48,)) for rows in (1000, 50, 20000)], dim=1)
    clicks = (torch.rand(48) < 0.25).float()
    return Built(ClickModel(), (torch.randn(48, 5), ids), clicks, "binary_cross_entropy_with_logits")


class Quantiles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(7, 24), nn.ReLU(), nn.Linear(24, 3))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        error = y.unsqueeze(1) - self.body(x)
        levels = torch.tensor([0.1, 0.5, 0.9])
        return torch.maximum(levels * error, (levels - 1) * error).mean()


@healthy()
def quantile_regression() -> Built:
    x = torch.randn(40, 7)
    return Built(Quantiles(), (x, x[:, 0] + torch.randn(40)), None, "model")


@healthy()
def poisson_regression_of_counts() -> Built:
    x = torch.randn(64, 6)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
    counts = torch.poisson(torch.exp(x[:, :1] * 0.5 + 0.7))
    return Built(model, (x,), counts, "poisson_nll_loss", {"log_input": True})


class Heteroscedastic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 32), nn.SiLU())
        self.mean = nn.Linear(32, 1)
        self.spread = nn.Linear(32, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = self.trunk(x)
        variance = F.softplus(self.spread(h)) + 1e-3
        return 0.5 * (torch.log(variance) + (y - self.mean(h)).square() / variance).mean()


@healthy()
def gaussian_likelihood_with_learned_spread() -> Built:
    x = torch.randn(50, 4)
    return Built(Heteroscedastic(), (x, 0.02 * x[:, 1:2]), None, "model")


class Ordinal(nn.Module):
    """One score against ordered thresholds."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(9, 16), nn.GELU(), nn.Linear(16, 1))
        self.thresholds = nn.Parameter(torch.tensor([-1.0, 0.0, 1.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.score(x) - self.thresholds


@healthy()
def ordinal_regression() -> Built:
    grades = classes(4, 36)
    target = (grades.unsqueeze(1) > torch.arange(3)).float()
    return Built(Ordinal(), (torch.randn(36, 9),), target, "binary_cross_entropy_with_logits")


class FocalLoss(nn.Module):
    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        plain = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        p = torch.sigmoid(logits)
        right = p * target + (1 - p) * (1 - target)
        return (0.25 * (1 - right).pow(2.0) * plain).sum(1).mean()


@healthy()
def focal_loss_of_a_detector() -> Built:
    model = nn.Sequential(nn.Linear(16, 40), nn.ReLU(), nn.Linear(40, 10))
    nn.init.constant_(model[2].bias, -math.log(99.0))
    target = (torch.rand(32, 10) < 0.08).float()
    return Built(model, (torch.randn(32, 16),), target, FocalLoss())


@healthy()
def mixed_up_samples_with_soft_labels() -> Built:
    labels = F.one_hot(classes(5, 40), 5).float()
    x = torch.randn(40, 12)
    share = torch.rand(40, 1)
    order = torch.randperm(40)
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 5))
    mixed = share * labels + (1 - share) * labels[order]
    return Built(model, (share * x + (1 - share) * x[order],), mixed, "cross_entropy")


class Distilled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 6))
        self.student = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 6))
        for parameter in self.teacher.parameters():
            parameter.requires_grad = False

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = self.student(x)
        wanted = F.softmax(self.teacher(x) / 2.0, dim=-1)
        soft = F.kl_div(F.log_softmax(logits / 2.0, dim=-1), wanted, reduction="batchmean")
        return 4.0 * soft + 0.5 * F.cross_entropy(logits, y)


@healthy()
def distillation_from_a_frozen_teacher() -> Built:
    return Built(Distilled(), (torch.randn(32, 10), classes(6, 32)), None, "model")


class Uncertain(nn.Module):
    """Multi-task with learned weights: the loss can be negative."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(11, 32), nn.Mish())
        self.price = nn.Linear(32, 1)
        self.kind = nn.Linear(32, 3)
        self.log_variance = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor, price: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        h = self.trunk(x)
        losses = torch.stack([F.mse_loss(self.price(h), price), F.cross_entropy(self.kind(h), kind)])
        return (torch.exp(-self.log_variance) * losses + self.log_variance).sum()


@healthy()
def tasks_weighted_by_their_uncertainty() -> Built:
    return Built(Uncertain(), (torch.randn(32, 11), torch.randn(32, 1), classes(3, 32)), None, "model")


@healthy()
def ten_relu_layers_by_default() -> Built:
    layers: list[nn.Module] = []
    for _ in range(10):
        layers += [nn.Linear(64, 64), nn.ReLU(inplace=True)]
    return Built(nn.Sequential(*layers, nn.Linear(64, 4)), (torch.randn(64, 64),), classes(4, 64), "cross_entropy")


@healthy()
def twelve_selu_layers() -> Built:
    layers: list[nn.Module] = []
    for _ in range(12):
        layers += [nn.Linear(40, 40), nn.SELU()]
        nn.init.normal_(layers[-2].weight, std=40**-0.5)
        nn.init.zeros_(layers[-2].bias)
    return Built(nn.Sequential(*layers, nn.Linear(40, 1)), (torch.randn(64, 40),), torch.randn(64, 1), "mse_loss")


@healthy()
def eight_tanh_layers_xavier() -> Built:
    layers: list[nn.Module] = []
    for _ in range(8):
        layers += [nn.Linear(30, 30), nn.Tanh()]
        nn.init.xavier_uniform_(layers[-2].weight, gain=5 / 3)
    return Built(nn.Sequential(*layers, nn.Linear(30, 3)), (torch.randn(48, 30),), classes(3, 48), "cross_entropy")


@healthy()
def one_hot_categories() -> Built:
    parts = [F.one_hot(torch.randint(0, count, (64,)), count) for count in (12, 7, 31)]
    model = nn.Sequential(nn.Linear(50, 24), nn.ReLU(), nn.Linear(24, 2))
    return Built(model, (torch.cat(parts, dim=1).float(),), classes(2, 64), "cross_entropy")


@healthy()
def sparse_bag_of_words() -> Built:
    counts = torch.poisson(torch.full((48, 400), 0.03))
    model = nn.Sequential(nn.Linear(400, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 4))
    return Built(model, (counts,), classes(4, 48), "cross_entropy")


class PixelTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, 12)
        self.conv = nn.Conv1d(12, 24, 5, padding=2)
        self.out = nn.Linear(24, 256)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.out(F.relu(self.conv(self.embed(pixels).transpose(1, 2))).mean(2))


@healthy()
def pixels_as_tokens() -> Built:
    return Built(PixelTokens(), (torch.randint(0, 256, (16, 30)),), torch.randint(0, 256, (16,)), "cross_entropy")


class Sine(nn.Module):
    def __init__(self, inputs: int, outputs: int, bound: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(30.0 * self.linear(x))


@healthy()
def sine_network_of_coordinates() -> Built:
    bound = math.sqrt(6 / 48) / 30
    model = nn.Sequential(Sine(2, 48, 0.5), Sine(48, 48, bound), Sine(48, 48, bound), nn.Linear(48, 3))
    nn.init.uniform_(model[3].weight, -bound, bound)
    grid = torch.rand(200, 2) * 2 - 1
    colours = torch.stack([grid[:, 0], grid[:, 1], (grid[:, 0] * 3).sin()], dim=1)
    return Built(model, (grid,), colours, "mse_loss")


class SquashedPolicy(nn.Module):
    """Soft actor critic: the actor's loss, through two frozen critics."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.mean = nn.Linear(32, 2)
        self.log_std = nn.Linear(32, 2)
        self.critics = nn.ModuleList([nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1)) for _ in range(2)])
        for parameter in self.critics.parameters():
            parameter.requires_grad = False

    def forward(self, state: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        h = self.body(state)
        log_std = torch.clamp(self.log_std(h), -20.0, 2.0)
        raw = self.mean(h) + noise * log_std.exp()
        action = torch.tanh(raw)
        likelihood = (-0.5 * noise.square() - log_std - 0.919 - torch.log(1 - action.square() + 1e-6)).sum(1)
        values = [critic(torch.cat([state, action], dim=1)).squeeze(1) for critic in self.critics]
        return (0.2 * likelihood - torch.minimum(values[0], values[1])).mean()


@healthy()
def squashed_gaussian_policy() -> Built:
    return Built(SquashedPolicy(), (torch.randn(64, 8), torch.randn(64, 2)), None, "model")


class ClippedPolicy(nn.Module):
    """Proximal policy optimisation: at the first step every ratio is one."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 4))
        self.critic = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(
        self, state: torch.Tensor, action: torch.Tensor, advantage: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        logs = F.log_softmax(self.actor(state), dim=-1)
        chosen = logs.gather(1, action.unsqueeze(1)).squeeze(1)
        ratio = torch.exp(chosen - chosen.detach())
        surrogate = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
        entropy = -(logs.exp() * logs).sum(1).mean()
        return 0.5 * F.mse_loss(self.critic(state).squeeze(1), value) - surrogate - 0.01 * entropy


@healthy()
def clipped_policy_gradient() -> Built:
    inputs = (torch.randn(64, 6), torch.randint(0, 4, (64,)), torch.randn(64), torch.randn(64))
    return Built(ClippedPolicy(), inputs, None, "model")


@healthy()
def triplets_with_an_active_margin() -> Built:
    target = {"positive": torch.randn(24, 8), "negative": torch.randn(24, 8)}
    model = nn.Sequential(nn.Linear(14, 32), nn.ReLU(), nn.Linear(32, 8))
    return Built(model, (torch.randn(24, 14),), target, "triplet_margin_loss", {"margin": 1.0})


@healthy()
def multi_class_hinge() -> Built:
    model = nn.Sequential(nn.Linear(14, 32), nn.LeakyReLU(), nn.Linear(32, 5))
    return Built(model, (torch.randn(30, 14),), classes(5, 30), "multi_margin_loss")


class Prompted(nn.Module):
    """Only the prompt learns; the frozen model stands behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.randn(4, 16) * 0.1)
        self.embed = nn.Embedding(40, 16)
        self.mix = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.out = nn.Linear(16, 40)
        for part in (self.embed, self.mix, self.out):
            for parameter in part.parameters():
                parameter.requires_grad = False

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        prompt = self.prompt.unsqueeze(0).expand(tokens.shape[0], 4, 16)
        return self.out(self.mix(torch.cat([prompt, self.embed(tokens)], dim=1))[:, -1])


@healthy()
def prompt_before_a_frozen_model() -> Built:
    return Built(Prompted(), (torch.randint(0, 40, (12, 6)),), torch.randint(0, 40, (12,)), "cross_entropy")


class TopExperts(nn.Module):
    """Mixture of experts: the two best, weighted by the gate's softmax, with a load balancing loss."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(10, 4, bias=False)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(10, 16), nn.GELU(), nn.Linear(16, 3)) for _ in range(4)])

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        probability = self.gate(x).softmax(-1)
        weights, chosen = probability.topk(2, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        mask = torch.zeros_like(probability).scatter(1, chosen, weights)
        out = torch.zeros(x.shape[0], 3)
        for i, expert in enumerate(self.experts):
            out = out + mask[:, i : i + 1] * expert(x)
        load = (mask > 0).float().mean(0)
        return F.cross_entropy(out, y) + 0.01 * 4 * (load * probability.mean(0)).sum()


@healthy()
def best_two_of_four_experts() -> Built:
    return Built(TopExperts(), (torch.randn(48, 10), classes(3, 48)), None, "model")


@healthy()
def standardised_inputs_with_outliers() -> Built:
    x = torch.randn(64, 8)
    x[::9, 2] *= 6
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1)).double()
    return Built(model, (x.double(),), (x[:, :1] * 2).double(), "huber_loss")
