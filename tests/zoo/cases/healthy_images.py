"""Healthy networks for images: plain, residual and U-shaped convolutions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class SmallCnn(nn.Module):
    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=bias),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=bias),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
        )
        self.head = nn.Linear(32, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1))


@healthy()
def cnn_with_bias_before_batch_norm() -> Built:
    return Built(SmallCnn(), (torch.randn(12, 3, 16, 16),), classes(6, 12), "cross_entropy")


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(F.gelu(self.up(self.norm(x))))


class DeepResidual(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Residual(24) for _ in range(depth)])
        self.head = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


@healthy()
def forty_residual_blocks() -> Built:
    return Built(DeepResidual(40), (torch.randn(32, 24),), classes(4, 32), "cross_entropy")


@healthy()
def residual_blocks_that_start_as_the_identity() -> Built:
    model = DeepResidual(6)
    for block in model.blocks:
        nn.init.zeros_(block.down.weight)
        nn.init.zeros_(block.down.bias)
    return Built(model, (torch.randn(32, 24),), classes(4, 32), "cross_entropy")


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = F.relu(self.down(x))
        deep = F.relu(self.deep(skip))
        return self.out(torch.cat([self.up(deep), skip], dim=1))


@healthy()
def u_net() -> Built:
    x = torch.randn(4, 1, 16, 16)
    return Built(UNet(), (x,), (x > 0).float(), "binary_cross_entropy_with_logits")


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Embedding(100, 16)
        self.body = nn.Sequential(nn.Linear(16 + 8, 64), nn.SiLU(), nn.Linear(64, 8))

    def forward(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return self.body(torch.cat([x, self.time(step)], dim=1))


@healthy()
def diffusion_denoiser() -> Built:
    return Built(Denoiser(), (torch.randn(32, 8), torch.randint(0, 100, (32,))), torch.randn(32, 8), "mse_loss")


@healthy()
def group_norm_cnn_in_double_precision() -> Built:
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.Flatten(), nn.Linear(8 * 36, 3)
    ).double()
    return Built(model, (torch.randn(8, 2, 8, 8, dtype=torch.float64),), classes(3, 8), "cross_entropy")
