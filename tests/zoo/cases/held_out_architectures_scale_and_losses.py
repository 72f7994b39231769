"""Values out of scale, and losses of the wrong shape, in whole architectures that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Graph(nn.Module):
    """Messages along edges; the degree of a lonely node is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.message = nn.Linear(6, 16)
        self.update = nn.Linear(22, 3)

    def forward(self, nodes: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(nodes.size(0), 16).index_add(0, target, torch.relu(self.message(nodes))[source])
        degree = torch.zeros(nodes.size(0)).index_add(0, target, torch.ones(source.size(0)))
        return self.update(torch.cat([nodes, sums / degree.unsqueeze(1)], 1))


@faulty(Expected("non-finite-forward", op="aten::div"), "non-finite")
def mean_of_no_messages() -> Built:
    source, target = torch.randint(12, (30,)), torch.randint(11, (30,))
    return Built(
        Graph(), (torch.randn(12, 6), source, target), classes(3, 12), "cross_entropy", suffers=("update.weight",)
    )


class Denoiser(nn.Module):
    """Predicts noise; the signal's share is the square root of a number that reaches below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(9, 32), nn.SiLU(), nn.Linear(32, 8))

    def forward(self, x: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        kept = 1.0 - 1.05 * t
        noisy = torch.sqrt(kept) * x + torch.sqrt(1 - kept) * noise
        return F.mse_loss(self.net(torch.cat([noisy, t], 1)), noise)


@faulty(Expected("non-finite-forward", op="aten::sqrt", line="torch.sqrt(kept)"), "non-finite")
def noise_schedule_below_zero() -> Built:
    t = torch.linspace(0.0, 1.0, 20).unsqueeze(1)
    inputs = (torch.randn(20, 8), torch.randn(20, 8), t)
    return Built(Denoiser(), inputs, None, "model", suffers=("net.0.weight",))


class Temporal(nn.Module):
    """A TCN of plain tanh layers, sixty deep, with weights half as large as they should be."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(12, 12, 3, padding=1) for _ in range(40)])
        self.head = nn.Linear(12, 3)
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x.mean(2))


@faulty(Expected("poor-initialization"), "tiny")
def deep_convolutions_with_small_weights() -> Built:
    return Built(Temporal(), (torch.randn(8, 12, 20),), classes(3, 8), "cross_entropy", suffers=("layers.0.weight",))


class Spectrum(nn.Module):
    """Takes the angle of a spectrum in which a bin is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Linear(16, 16, bias=False)
        self.head = nn.Linear(9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(self.filters(x))
        return self.head(torch.sqrt(spectrum.real**2 + spectrum.imag**2))


@faulty(Expected("non-finite-backward", op="aten::sqrt"), "non-finite")
def magnitude_of_a_silent_frame() -> Built:
    x = torch.randn(10, 16)
    x[6] = 0
    return Built(Spectrum(), (x,), classes(3, 10), "cross_entropy", suffers=("filters.weight",))


class Capsule(nn.Module):
    """Squashes with a power that is singular at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.caps = nn.Linear(8, 24, bias=False)
        self.head = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = self.caps(x).view(x.size(0), 6, 4)
        squared = (u**2).sum(-1, keepdim=True)
        return self.head((squared**0.5 / (1 + squared) * u).flatten(1))


@faulty(Expected("non-finite-backward", op="aten::pow", line="squared**0.5"), "non-finite")
def capsules_of_an_empty_sample() -> Built:
    x = torch.randn(9, 8)
    x[2] = 0
    return Built(Capsule(), (x,), classes(4, 9), "cross_entropy", suffers=("caps.weight",))


class ListNet(nn.Module):
    """A listwise ranking: softmax over the queries where it should be over the documents."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, documents: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.score(documents).squeeze(-1), dim=0)


@faulty(Expected("softmax-dimension", op="aten::log_softmax"), "told")
def listwise_scores_over_queries() -> Built:
    target = torch.softmax(torch.randn(10, 7), 1)
    return Built(ListNet(), (torch.randn(10, 7, 6),), target, "kl_div", options={})


class Frozen(nn.Module):
    """BatchNorm statistics of other data, in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)
        self.bn.running_mean.fill_(40.0)
        self.bn.running_var.fill_(1e-3)
        self.bn.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.bn(self.conv(x))).mean((2, 3)))


@faulty(Expected("frozen-normalization", module="bn"), "told")
def batch_norm_with_foreign_statistics() -> Built:
    return Built(Frozen(), (torch.randn(8, 3, 10, 10),), classes(3, 8), "cross_entropy")


class Half(nn.Module):
    """A tiny loss weight in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(20, 40).half()
        self.b = nn.Linear(40, 3).half()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = self.b(torch.relu(self.a(x.half())))
        return F.cross_entropy(logits * 1e-1, y) * 1e-5


@faulty(Expected("gradient-underflow"), "told")
def half_precision_without_a_loss_scale() -> Built:
    return Built(Half(), (torch.randn(32, 20), classes(3, 32)), None, "model")


class Pairwise(nn.Module):
    """Two shapes that only broadcasting makes fit."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        error = self.net(x) - y
        return error.abs().mean()


@faulty(Expected("shape-broadcast"), "told")
def absolute_error_of_all_pairs() -> Built:
    return Built(Pairwise(), (torch.randn(16, 8), torch.randn(16)), None, "model")
