"""Healthy generative and self-supervised models that rules were not made with."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, healthy


class ConvolutionalVae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(1, 8, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 4, stride=2, padding=1), nn.ReLU()
        )
        self.moments = nn.Linear(16 * 16, 12)
        self.expand = nn.Linear(6, 16 * 16)
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        mean, log_variance = self.moments(self.encode(x).flatten(1)).chunk(2, dim=1)
        z = mean + noise * (0.5 * log_variance).exp()
        logits = self.decode(self.expand(z).view(-1, 16, 4, 4))
        likelihood = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        divergence = -0.5 * torch.sum(1 + log_variance - mean**2 - torch.exp(log_variance))
        return (likelihood + 4.0 * divergence) / x.shape[0]


@healthy()
def convolutional_vae_with_pixel_likelihood() -> Built:
    x = (torch.rand(16, 1, 16, 16) > 0.7).float()
    return Built(ConvolutionalVae(), (x, torch.randn(16, 6)), None, "model")


class Generating(nn.Module):
    """A generator learns through a frozen discriminator."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 12), nn.Tanh())
        self.discriminator = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)).requires_grad_(
            requires_grad=False
        )

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.discriminator(self.generator(noise))


@healthy()
def generator_through_a_frozen_discriminator() -> Built:
    return Built(Generating(), (torch.randn(32, 8),), torch.ones(32, 1), "binary_cross_entropy_with_logits")


class Discriminating(nn.Module):
    """The discriminator's step: what the generator makes is detached on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 12))
        self.discriminator = nn.Sequential(nn.Linear(12, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
        for parameter in self.generator.parameters():
            parameter.requires_grad = False

    def forward(self, real: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        made = self.generator(noise).detach()
        right, wrong = self.discriminator(real), self.discriminator(made)
        return F.relu(1 - right).mean() + F.relu(1 + wrong).mean()


@healthy()
def discriminator_step_with_hinge() -> Built:
    return Built(Discriminating(), (torch.randn(32, 12), torch.randn(32, 8)), None, "model")


class VectorQuantised(nn.Module):
    """VQ-VAE with codebook and commitment losses and the straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))
        self.codes = nn.Embedding(16, 4)
        self.decode = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encode(x)
        nearest = torch.cdist(z, self.codes.weight).argmin(dim=1)
        code = self.codes(nearest)
        rebuilt = self.decode(z + (code - z).detach())
        return F.mse_loss(rebuilt, x) + F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())


@healthy()
def vector_quantised_autoencoder() -> Built:
    return Built(VectorQuantised(), (torch.randn(48, 12),), None, "model")


class Coupling(nn.Module):
    def __init__(self, *, flip: bool) -> None:
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(nn.Linear(3, 24), nn.Tanh(), nn.Linear(24, 6))
        nn.init.zeros_(self.net[2].weight)
        nn.init.zeros_(self.net[2].bias)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = x.chunk(2, dim=1)
        if self.flip:
            a, b = b, a
        scale, shift = self.net(a).chunk(2, dim=1)
        scale = torch.tanh(scale)
        b = b * scale.exp() + shift
        return (torch.cat([b, a], 1) if self.flip else torch.cat([a, b], 1)), scale.sum(1)


class NormalisingFlow(nn.Module):
    """RealNVP whose couplings start as the identity; returns the negative log likelihood."""

    def __init__(self) -> None:
        super().__init__()
        self.couplings = nn.ModuleList([Coupling(flip=bool(i % 2)) for i in range(6)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(x.shape[0])
        for coupling in self.couplings:
            x, log_determinant = coupling(x)
            total = total + log_determinant
        return (0.5 * (x.square() + math.log(2 * math.pi)).sum(1) - total).mean()


@healthy()
def normalising_flow_that_starts_as_the_identity() -> Built:
    return Built(NormalisingFlow(), (torch.randn(64, 6) * 0.3 + 1,), None, "model")


class MixtureDensity(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 15))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        share, mean, log_scale = self.body(x).chunk(3, dim=1)
        log_scale = log_scale.clamp(-7.0, 7.0)
        inside = F.log_softmax(share, 1) - log_scale - 0.5 * ((y - mean) / log_scale.exp()) ** 2
        return -torch.logsumexp(inside, dim=1).mean()


@healthy()
def mixture_density_network() -> Built:
    x = torch.rand(100, 1) * 2 - 1
    return Built(MixtureDensity(), (x, (4 * x).sin() + 0.1 * torch.randn(100, 1)), None, "model")


class TimeConditioned(nn.Module):
    """Diffusion: sinusoidal time, scale and shift of each block, zero-initialised last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU())
        self.into = nn.Conv1d(2, 16, 3, padding=1)
        self.modulate = nn.Linear(32, 32)
        self.norm = nn.GroupNorm(4, 16)
        self.mid = nn.Conv1d(16, 16, 3, padding=1)
        self.out = nn.Conv1d(16, 2, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        rates = torch.exp(torch.arange(8) * (-math.log(10000.0) / 8))
        angle = step.float().unsqueeze(1) * rates
        embedded = self.time(torch.cat([angle.sin(), angle.cos()], dim=1))
        scale, shift = self.modulate(embedded).unsqueeze(2).chunk(2, dim=1)
        h = self.into(x)
        h = h + self.mid(F.silu(self.norm(h) * (1 + scale) + shift))
        return self.out(F.silu(h))


@healthy()
def denoiser_with_sinusoidal_time() -> Built:
    x = torch.randn(16, 2, 32)
    return Built(TimeConditioned(), (x, torch.randint(0, 1000, (16,))), 0.7 * x, "mse_loss")


class GumbelCodes(nn.Module):
    """Hard samples forward, soft gradient backward."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(10, 4 * 6)
        self.decode = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        logits = self.encode(x).view(-1, 4, 6)
        soft = F.softmax(logits + noise, dim=-1)
        hard = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
        return self.decode((hard - soft.detach() + soft).flatten(1))


@healthy()
def gumbel_softmax_straight_through() -> Built:
    x = torch.randn(40, 10)
    noise = -(-torch.rand(40, 4, 6).clamp(1e-6, 1 - 1e-6).log()).log()
    return Built(GumbelCodes(), (x, noise), x.clone(), "mse_loss")


class SlowTarget(nn.Module):
    """BYOL with a slowly moving copy of the encoder that does not learn by gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 12))
        self.predictor = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 12))
        self.slow = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 12))
        self.slow.load_state_dict(self.online.state_dict())
        for parameter in self.slow.parameters():
            parameter.requires_grad = False

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        predicted = F.normalize(self.predictor(self.online(a)), dim=-1)
        wanted = F.normalize(self.slow(b), dim=-1).detach()
        return 2 - 2 * (predicted * wanted).sum(-1).mean()


@healthy()
def slowly_moving_target_network() -> Built:
    x = torch.randn(32, 20)
    return Built(SlowTarget(), (x + 0.1 * torch.randn(32, 20), x + 0.1 * torch.randn(32, 20)), None, "model")


class SparseCodes(nn.Module):
    """Autoencoder that keeps the eight largest of sixty-four activations."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(16, 64)
        self.decode = nn.Linear(64, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.encode(x))
        largest, where = h.topk(8, dim=1)
        return self.decode(torch.zeros_like(h).scatter(1, where, largest))


@healthy()
def top_k_sparse_autoencoder() -> Built:
    x = torch.randn(64, 16)
    return Built(SparseCodes(), (x,), x.clone(), "mse_loss")


class ContinuousTime(nn.Module):
    """Neural ODE by Runge and Kutta."""

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = 0.1
        for _ in range(10):
            one = self.field(x)
            two = self.field(x + step / 2 * one)
            three = self.field(x + step / 2 * two)
            x = x + step / 6 * (one + 2 * two + 2 * three + self.field(x + step * three))
        return x


@healthy()
def neural_differential_equation() -> Built:
    x = torch.randn(50, 2)
    turned = x @ torch.tensor([[0.54, 0.84], [-0.84, 0.54]])
    return Built(ContinuousTime(), (x,), turned, "mse_loss")


class HyperNetwork(nn.Module):
    """One network makes another one's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.task = nn.Embedding(5, 8)
        self.make = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 6 * 4))

    def forward(self, x: torch.Tensor, task: torch.Tensor) -> torch.Tensor:
        weights = self.make(self.task(task)).view(-1, 4, 6)
        return torch.bmm(weights, x.unsqueeze(2)).squeeze(2)


@healthy()
def network_that_makes_weights() -> Built:
    return Built(HyperNetwork(), (torch.randn(40, 6), torch.arange(40) % 5), torch.arange(40) % 4, "cross_entropy")


class ClippedCritic(nn.Module):
    """WGAN critic right after its weights were clipped: the loss has no bound by design."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(10, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
        with torch.no_grad():
            for parameter in self.critic.parameters():
                parameter.clamp_(-0.05, 0.05)

    def forward(self, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        return self.critic(made).mean() - self.critic(real).mean()


@healthy()
def critic_with_clipped_weights() -> Built:
    return Built(ClippedCritic(), (torch.randn(64, 10) + 0.5, torch.randn(64, 10)), None, "model")
