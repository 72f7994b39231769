"""What is out of scale or not finite on an ordinary day, in models that rules were not made with."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Tower(nn.Module):
    """Two dozen sigmoid layers without anything that helps."""

    def __init__(self, depth: int = 24) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(32, 32) for _ in range(depth)])
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return self.head(x)


@faulty(Expected("vanishing-gradient"), "tiny")
def tower_of_sigmoids() -> Built:
    return Built(Tower(), (torch.randn(16, 32),), classes(4, 16), "cross_entropy", suffers=("layers.0.weight",))


class Growing(nn.Module):
    """A recurrent loop whose matrix has eigenvalues far above one."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 24)
        self.again = nn.Linear(24, 24, bias=False)
        self.head = nn.Linear(24, 1)
        nn.init.orthogonal_(self.again.weight, gain=2.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.size(0), 24)
        for t in range(x.size(1)):
            h = self.enter(x[:, t]) + self.again(h)
        return self.head(h)


@faulty(Expected("exploding-gradient"), "told")
def recurrence_that_grows() -> Built:
    return Built(Growing(), (torch.randn(8, 25, 4),), torch.randn(8, 1), "mse_loss")


class Wide(nn.Module):
    """Weights drawn from N(0, 1), as old tutorials do."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Sequential(*(part for _ in range(10) for part in (nn.Linear(96, 96), nn.ReLU())))
        self.head = nn.Linear(96, 1)
        for each in self.stack:
            if isinstance(each, nn.Linear):
                nn.init.normal_(each.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stack(x))


@faulty(Expected("poor-initialization"), "told")
def weights_from_a_unit_normal() -> Built:
    return Built(Wide(), (torch.randn(16, 96),), torch.randn(16, 1), "mse_loss")


class Cosine(nn.Module):
    """Normalises by hand, and one row is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(10, 16, bias=False)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.project(x)
        return self.head(z / z.norm(2.0, dim=1, keepdim=True))


@faulty(Expected("non-finite-forward", op="aten::div"), "non-finite")
def empty_row_divided_by_its_norm() -> Built:
    x = torch.randn(12, 10)
    x[7] = 0
    return Built(Cosine(), (x,), classes(3, 12), "cross_entropy", suffers=("project.weight", "head.weight"))


class Distance(nn.Module):
    """Distances of every point to every point: the diagonal is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.embed(x)
        squared = (z.unsqueeze(0) - z.unsqueeze(1)).pow(2).sum(-1)
        return torch.sqrt(squared)


@faulty(Expected("non-finite-backward", op="aten::sqrt"), "non-finite")
def distances_with_a_diagonal() -> Built:
    target = torch.rand(9, 9)
    return Built(Distance(), (torch.randn(9, 5),), target, "mse_loss", suffers=("embed.0.weight",))


class Entropy(nn.Module):
    """p log p by hand, with probabilities that underflow to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        p = torch.softmax(self.net(x) * 300, -1)
        entropy = -(p * torch.log(p)).sum(-1)
        return F.nll_loss(torch.log_softmax(self.net(x), -1), y) + 0.1 * entropy.mean()


@faulty(Expected("non-finite-forward"), "non-finite")
def entropy_by_hand() -> Built:
    return Built(Entropy(), (torch.randn(16, 6) * 3, classes(5, 16)), None, "model", suffers=("net.weight",))


class Poisoned(nn.Module):
    """A checkpoint after the explosion: one weight is NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            self.features[2].weight[1, 2, 0, 0] = math.nan

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


@faulty(Expected("non-finite-parameter", parameter="features.2.weight"), "non-finite")
def checkpoint_after_the_explosion() -> Built:
    return Built(
        Poisoned(), (torch.randn(6, 1, 12, 12),), classes(3, 6), "cross_entropy", suffers=("features.0.weight",)
    )


class HalfExp(nn.Module):
    """Exponentiates in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 8).half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(self.net(x.half()) * 8).float().log1p()


@faulty(Expected("overflow-low-precision", op="aten::exp"), "told")
def exp_in_half_precision() -> Built:
    return Built(HalfExp(), (torch.randn(16, 8) * 3,), torch.randn(16, 8), "mse_loss")


class Reciprocal(nn.Module):
    """Divides by a learnt number that is nearly zero for one sample."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 12)
        self.b = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.a(x)) * scale
        return self.b(h / (h.pow(2).sum(1, keepdim=True) + 1e-20).sqrt())


@faulty(Expected("ill-conditioned-op"), "told")
def nearly_empty_sample_normalised() -> Built:
    scale = torch.ones(12, 1)
    scale[4] = 1e-8
    return Built(Reciprocal(), (torch.randn(12, 6), scale), classes(3, 12), "cross_entropy")
