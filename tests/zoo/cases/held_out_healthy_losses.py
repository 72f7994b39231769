"""Healthy models with a loss of their own that looks like a fault; rules were not made with these."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class VqVae(nn.Module):
    """The codebook's three losses, with their stop-gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 6))
        self.codes = nn.Embedding(16, 6)
        self.decoder = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encoder(x)
        code = self.codes(torch.cdist(z, self.codes.weight).argmin(1))
        commitment = F.mse_loss(z, code.detach()) * 0.25 + F.mse_loss(code, z.detach())
        through = z + (code - z).detach()
        return F.mse_loss(self.decoder(through), x) + commitment


@healthy()
def vq_vae_with_all_its_losses() -> Built:
    return Built(VqVae(), (torch.randn(40, 12),), None, "model")


class Beta(nn.Module):
    """A VAE with its KL term weighted low at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(16, 32)
        self.mean = nn.Linear(32, 4)
        self.log_variance = nn.Linear(32, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.encoder(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        return F.binary_cross_entropy_with_logits(self.decoder(z), x) + 1e-3 * kl


@healthy()
def vae_with_a_low_kl_weight() -> Built:
    return Built(Beta(), ((torch.rand(40, 16) > 0.5).float(),), None, "model")


class Hinge(nn.Module):
    """A critic with a hinge loss and spectral-like scaling."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def forward(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return F.relu(1 - self.net(real)).mean() + F.relu(1 + self.net(fake)).mean()


@healthy()
def critic_with_a_hinge() -> Built:
    return Built(Hinge(), (torch.randn(32, 8) + 1, torch.randn(32, 8) - 1), None, "model")


class Triplet(nn.Module):
    """Triplets with semi-hard negatives: some keep the margin."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, a: torch.Tensor, p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        return F.triplet_margin_loss(self.net(a), self.net(p), self.net(n), margin=0.3)


@healthy()
def triplets_of_which_some_keep_the_margin() -> Built:
    a = torch.randn(40, 10)
    return Built(Triplet(), (a, a + 0.3 * torch.randn(40, 10), torch.randn(40, 10)), None, "model")


class InBatch(nn.Module):
    """Contrastive logits of every pair in the batch (CLIP)."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Linear(14, 16)
        self.text = nn.Linear(9, 16)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        u, v = F.normalize(self.image(image), dim=-1), F.normalize(self.text(text), dim=-1)
        logits = self.scale.exp() * u @ v.t()
        labels = torch.arange(image.size(0))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2


@healthy()
def contrast_within_the_batch() -> Built:
    return Built(InBatch(), (torch.randn(24, 14), torch.randn(24, 9)), None, "model")


class Counts(nn.Module):
    """Poisson regression on counts."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 24), nn.Softplus(), nn.Linear(24, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@healthy()
def counts_with_a_poisson_loss() -> Built:
    return Built(Counts(), (torch.randn(40, 6),), torch.poisson(torch.full((40, 1), 3.0)), "poisson_nll_loss")


class Quantiles(nn.Module):
    """The pinball loss of three quantiles."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 3))
        self.register_buffer("levels", torch.tensor([0.1, 0.5, 0.9]))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        error = y - self.net(x)
        return torch.maximum(self.levels * error, (self.levels - 1) * error).mean()


@healthy()
def three_quantiles() -> Built:
    return Built(Quantiles(), (torch.randn(40, 5), torch.randn(40, 1)), None, "model")


class Dice(nn.Module):
    """Soft Dice for a rare foreground."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        p = torch.sigmoid(self.net(x))
        overlap = (p * mask).sum((1, 2, 3))
        return 1 - ((2 * overlap + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()


@healthy()
def soft_dice_of_a_small_object() -> Built:
    mask = torch.zeros(6, 1, 16, 16)
    mask[:, :, 5:8, 6:10] = 1
    return Built(Dice(), (mask + 0.3 * torch.randn(6, 1, 16, 16), mask), None, "model")


class Warm(nn.Module):
    """A regression head whose bias is the target's mean, as it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 1))
        with torch.no_grad():
            self.net[2].bias.fill_(250.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@healthy()
def house_prices_around_their_mean() -> Built:
    return Built(Warm(), (torch.randn(40, 7),), 250 + 60 * torch.randn(40, 1), "mse_loss")


class Focal(nn.Module):
    """Focal loss with a prior bias for a rare class (Lin et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
        nn.init.constant_(self.net[2].bias, -math.log(99))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        score = self.net(x).squeeze(1)
        loss = F.binary_cross_entropy_with_logits(score, y, reduction="none")
        p = torch.exp(-loss)
        return (0.25 * (1 - p) ** 2 * loss).mean()


@healthy()
def focal_loss_with_a_prior() -> Built:
    y = (torch.arange(60) % 6 == 0).float()
    return Built(Focal(), (torch.randn(60, 8) + y.unsqueeze(1), y), None, "model")


class Ordinal(nn.Module):
    """Thresholds that cumulate softplus steps."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 1))
        self.steps = nn.Parameter(torch.zeros(3))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        limits = torch.cumsum(F.softplus(self.steps), 0) - 1.5
        logits = self.score(x) - limits
        above = (y.unsqueeze(1) > torch.arange(3)).float()
        return F.binary_cross_entropy_with_logits(logits, above)


@healthy()
def ordinal_regression() -> Built:
    return Built(Ordinal(), (torch.randn(32, 5), classes(4, 32)), None, "model")
