"""Small models and losses that cases of more than one file begin with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it


class Body(nn.Module):
    """A small perceptron, for subclasses that differ in their loss."""

    def __init__(self, inputs: int = 7, outputs: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 18), nn.SiLU(), nn.Linear(18, outputs))


class Plain(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Vector(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).squeeze(1)


def x(batch: int = 36) -> torch.Tensor:
    return torch.randn(batch, 7)


class OwnMseLoss(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.body(x), y)


class Triplets(nn.Module):
    """Embeddings of an anchor, of what is near it and of what is far, with a margin of 0.2."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 4)

    def forward(self, a: torch.Tensor, p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        near = (self.embed(a) - self.embed(p)).square().sum(1)
        far = (self.embed(a) - self.embed(n)).square().sum(1)
        return torch.clamp(near - far + 0.2, min=0).mean()
