"""Healthy vision models that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class DenseBlock(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], dim=1)


class DenselyConnected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*[DenseBlock(12 + 6 * i, 6) for i in range(6)])
        self.norm = nn.BatchNorm2d(48)
        self.head = nn.Linear(48, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.norm(self.blocks(self.stem(x)))).mean((2, 3)))


@healthy()
def densely_connected_network() -> Built:
    return Built(DenselyConnected(), (torch.randn(10, 3, 12, 12),), classes(7, 10), "cross_entropy")


class InvertedResidual(nn.Module):
    """MobileNet v2: expand, depthwise, linear bottleneck."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width), nn.ReLU6())
        self.depthwise = nn.Sequential(
            nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width, bias=False),
            nn.BatchNorm2d(4 * width),
            nn.ReLU6(inplace=True),
        )
        self.project = nn.Sequential(nn.Conv2d(4 * width, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.project(self.depthwise(self.expand(x)))


@healthy()
def inverted_residuals_with_depthwise_convolutions() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        InvertedResidual(8),
        InvertedResidual(8),
        InvertedResidual(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(8, 4),
    )
    return Built(model, (torch.rand(8, 3, 24, 24) - 0.45,), classes(4, 8), "cross_entropy")


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, 4)
        self.excite = nn.Linear(4, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return x * gate.unsqueeze(-1).unsqueeze(-1)


@healthy()
def squeeze_and_excite_gates() -> Built:
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3)]
    for _ in range(3):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Hardswish(), SqueezeExcite(16)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    return Built(model, (torch.randn(20, 1, 14, 14),), classes(10, 20), "cross_entropy")


class BasicBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(x + self.bn2(self.conv2(h)), inplace=True)


@healthy()
def sixteen_residual_blocks_with_zero_gamma() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        *[BasicBlock(12) for _ in range(16)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )
    return Built(model, (torch.randn(10, 3, 8, 8),), classes(5, 10), "cross_entropy")


class UNetOfThreeLevels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = self.level(3, 8)
        self.two = self.level(8, 16)
        self.three = self.level(16, 32)
        self.up_two = self.level(32 + 16, 16)
        self.up_one = self.level(16 + 8, 8)
        self.out = nn.Conv2d(8, 3, 1)

    def level(self, inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.SiLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        three = self.three(F.max_pool2d(two, 2))
        h = self.up_two(torch.cat([F.interpolate(three, scale_factor=2.0, mode="nearest"), two], 1))
        h = self.up_one(torch.cat([F.interpolate(h, scale_factor=2.0, mode="nearest"), one], 1))
        return self.out(h)


@healthy()
def segmentation_with_much_background() -> Built:
    mask = torch.zeros(4, 16, 16, dtype=torch.int64)
    mask[:, 3:7, 4:8] = 1
    mask[:2, 9:12, 10:14] = 2
    return Built(UNetOfThreeLevels(), (torch.randn(4, 3, 16, 16),), mask, "cross_entropy")


@healthy()
def instance_normalised_autoencoder() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=2, padding=1),
        nn.InstanceNorm2d(16, affine=True),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.InstanceNorm2d(16),
        nn.LeakyReLU(0.2, inplace=True),
        nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1),
        nn.Tanh(),
    )
    x = torch.rand(4, 3, 16, 16) * 2 - 1
    return Built(model, (x,), x.clone(), "l1_loss")


class Mixer(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(width)
        self.token_mlp = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.channel_norm = nn.LayerNorm(width)
        self.channel_mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.token_mlp(self.token_norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channel_mlp(self.channel_norm(x))


class MixerNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, stride=4)
        self.mixers = nn.Sequential(*[Mixer(16, 24) for _ in range(4)])
        self.head = nn.Linear(24, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.mixers(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


@healthy()
def mlp_mixer() -> Built:
    return Built(MixerNetwork(), (torch.randn(12, 3, 16, 16),), classes(6, 12), "cross_entropy")


@healthy()
def super_resolution_by_pixel_shuffle() -> Built:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.Tanh(), nn.Conv2d(16, 16, 3, padding=1), nn.Tanh(),
        nn.Conv2d(16, 4, 3, padding=1), nn.PixelShuffle(2),
    )  # fmt: skip
    x = torch.rand(4, 1, 10, 10)
    return Built(model, (x,), x.repeat_interleave(2, 2).repeat_interleave(2, 3), "mse_loss")


class ContrastiveViews(nn.Module):
    """SimCLR-like: logits (N, N) between two views of the same batch."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 16))
        self.log_temperature = nn.Parameter(torch.tensor(2.0))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        left, right = F.normalize(self.encode(a), dim=-1), F.normalize(self.encode(b), dim=-1)
        return left @ right.t() * self.log_temperature.exp()


@healthy()
def contrastive_logits_between_samples() -> Built:
    x = torch.randn(24, 24)
    return Built(ContrastiveViews(), (x, x + 0.3 * torch.randn(24, 24)), torch.arange(24), "cross_entropy")


class Maxout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 32 * 3)
        self.second = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).view(-1, 32, 3).amax(-1))


@healthy()
def maxout_units() -> Built:
    return Built(Maxout(), (torch.randn(40, 16),), classes(3, 40), "cross_entropy")


class NormalisedCritic(nn.Module):
    """WGAN critic whose layers are divided by their norm, with its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(32, 10))
        self.second = nn.Parameter(torch.randn(1, 32))

    def score(self, x: torch.Tensor) -> torch.Tensor:
        h = F.leaky_relu(F.linear(x, self.first / torch.linalg.vector_norm(self.first)), 0.2)
        return F.linear(h, self.second / torch.linalg.vector_norm(self.second))

    def forward(self, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        return self.score(made).mean() - self.score(real).mean()


@healthy()
def critic_with_normalised_weights() -> Built:
    return Built(NormalisedCritic(), (torch.randn(32, 10) + 1, torch.randn(32, 10)), None, "model")


class Weighted(nn.Module):
    """Weight norm, written out: direction and magnitude."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.randn(outputs, inputs))
        self.g = nn.Parameter(torch.ones(outputs, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.g * self.v / torch.linalg.vector_norm(self.v, dim=[1], keepdim=True), self.bias)


@healthy()
def weight_normalised_mlp() -> Built:
    model = nn.Sequential(Weighted(12, 32), nn.ELU(), Weighted(32, 32), nn.ELU(), Weighted(32, 2))
    return Built(model, (torch.randn(48, 12),), classes(2, 48), "cross_entropy")


@healthy()
def convolutions_in_bfloat16() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 16, 4),
    ).bfloat16()  # fmt: skip
    return Built(model, (torch.randn(8, 3, 8, 8).bfloat16(),), classes(4, 8), "cross_entropy")


@healthy()
def two_images_in_a_batch() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 1, 1),
    )  # fmt: skip
    return Built(model, (torch.randn(2, 3, 20, 20),), torch.randn(2, 1, 16, 16), "smooth_l1_loss")
