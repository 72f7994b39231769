"""Healthy losses and targets that look like faulty ones."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy
from zoo.cases.loss_bodies import Body, Plain, Triplets, Vector, x


@healthy()
def soft_labels() -> Built:
    return Built(Plain(), (x(),), torch.rand(36, 3).softmax(1), "cross_entropy")


@healthy()
def some_targets_ignored() -> Built:
    y = classes(3, 36)
    y[::3] = -100
    return Built(Plain(), (x(),), y, "cross_entropy", {"label_smoothing": 0.1})


@healthy()
def one_sample_only() -> Built:
    return Built(Plain(), (x(1),), torch.tensor([2]), "cross_entropy")


@healthy()
def nearly_constant_targets() -> Built:
    batch = x()
    return Built(Vector(), (batch,), 20 + batch[:, 0] * 0.01, "mse_loss")


@healthy()
def background_and_a_small_object() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    y = torch.zeros(6, 12, 12, dtype=torch.int64)
    y[:, 4:6, 4:6] = 1
    return Built(model, (torch.randn(6, 3, 12, 12),), y, "cross_entropy")


class Ranker(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        score = self.body(x).squeeze(1)
        difference = score.unsqueeze(1) - score
        better = (relevance.unsqueeze(1) > relevance).float()
        return (F.softplus(-difference) * better).sum() / better.sum()


@healthy()
def pairs_of_scores() -> Built:
    return Built(Ranker(), (x(), torch.rand(36)), None, "model")


class PolicyGradient(Body):
    def forward(self, state: torch.Tensor, action: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
        logp = self.body(state).log_softmax(1).gather(1, action.unsqueeze(1)).squeeze(1)
        return -(logp * advantage).mean()


@healthy()
def policy_gradient() -> Built:
    return Built(PolicyGradient(), (x(), classes(3, 36), torch.randn(36)), None, "model")


class EntropyBonus(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        scores = self.body(x)
        p = scores.softmax(1)
        entropy = -(p * scores.log_softmax(1)).sum(1).mean()
        return F.cross_entropy(scores, y) - 0.01 * entropy


@healthy()
def entropy_bonus() -> Built:
    return Built(EntropyBonus(), (x(), classes(3, 36)), None, "model")


class Critic(Body):
    """A Wasserstein critic: raw scores, no bound, on purpose."""

    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return self.body(fake).mean() - self.body(real).mean()


@healthy()
def wasserstein_critic() -> Built:
    return Built(Critic(), (x(), x() + 1), None, "model")


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 7))
        self.discriminator = nn.Sequential(nn.Linear(7, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
        for parameter in self.discriminator.parameters():
            parameter.requires_grad = False

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.discriminator(self.generator(noise))


@healthy()
def generator_step_with_all_ones() -> Built:
    return Built(Generator(), (torch.randn(36, 4),), torch.ones(36, 1), "binary_cross_entropy_with_logits")


class Cosine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Linear(7, 5)

    def forward(self, x: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return -F.cosine_similarity(self.student(x), teacher).mean()


@healthy()
def negative_cosine_similarity() -> Built:
    return Built(Cosine(), (x(), torch.randn(36, 5)), None, "model")


@healthy()
def triplets_within_the_margin() -> Built:
    a = torch.randn(20, 5)
    return Built(Triplets(), (a, a + 0.2 * torch.randn(20, 5), a + 0.3 * torch.randn(20, 5)), None, "model")


class MaskedRegression(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        error = (self.body(x) - y).square() * known
        return error.sum() / known.sum().clamp(min=1)


@healthy()
def most_of_the_targets_masked() -> Built:
    return Built(MaskedRegression(), (x(), torch.randn(36, 3), (torch.rand(36, 3) > 0.9).float()), None, "model")
