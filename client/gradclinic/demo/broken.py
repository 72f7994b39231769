"""Three models of the kind people bring: each trains badly, or not at all, for one reason."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """A linear layer and its activation, as stacked in tabular models."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``x``: ``[N, F]``."""
        y: Tensor = self.activation(self.linear(x))
        return y


class TabularClassifier(nn.Module):
    """Five blocks; the fourth one's biases were overwritten by a careless initialisation, so its units never fire."""

    def __init__(self, features: int = 16, width: int = 64, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Linear(features, width)
        blocks = [Block(width) for _ in range(5)]
        nn.init.constant_(blocks[3].linear.bias, -20.0)
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``x``: ``[N, F]``; logits ``[N, C]``."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x)
        return logits


class Encoder(nn.Module):
    """A small convolutional encoder."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        """``images``: ``[N, 3, H, W]``; features ``[N, 2 * width]``."""
        x = torch.relu(self.first(images))
        x = torch.relu(self.second(x))
        features: Tensor = self.pool(x).flatten(1)
        return features


class DetachedEncoder(nn.Module):
    """An encoder that was once frozen for a probe; the detach stayed when fine-tuning began."""

    def __init__(self, width: int = 16, classes: int = 4) -> None:
        super().__init__()
        self.encoder = Encoder(width)
        self.head = nn.Sequential(nn.Linear(2 * width, 32), nn.GELU(), nn.Linear(32, classes))

    def forward(self, images: Tensor) -> Tensor:
        """``images``: ``[N, 3, H, W]``; logits ``[N, C]``."""
        features = self.encoder(images).detach()
        logits: Tensor = self.head(features)
        return logits


class SigmoidStack(nn.Module):
    """Thirty layers, each with a sigmoid, no skip path and no normalisation."""

    def __init__(self, features: int = 16, width: int = 32, depth: int = 30, classes: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(features, width), nn.Sigmoid()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.Sigmoid()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``x``: ``[N, F]``; logits ``[N, C]``."""
        logits: Tensor = self.head(self.body(x))
        return logits
