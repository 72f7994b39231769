"""Healthy models of raw values, padding, series, patches and graphs; rules were not made with these."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class Ladder(nn.Module):
    """Pre-norm transformer whose branch outputs start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 32, padding_idx=0)
        self.blocks = nn.ModuleList(
            [nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True, norm_first=True) for _ in range(4)]
        )
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 5)
        for block in self.blocks:
            nn.init.zeros_(block.linear2.weight)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        padding = ids == 0
        for block in self.blocks:
            x = block(x, src_key_padding_mask=padding)
        return self.head(self.norm(x).mean(1))


@healthy("trace")
def padded_sequences_through_zero_started_blocks() -> Built:
    ids = torch.randint(1, 40, (12, 10))
    for row in range(12):
        ids[row, 10 - row % 5 :] = 0
    return Built(Ladder(), (ids,), classes(5, 12), "cross_entropy")


class Physics(nn.Module):
    """A network of sines for coordinates, initialised as its paper says (Sitzmann et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 48)
        self.second = nn.Linear(48, 48)
        self.last = nn.Linear(48, 1)
        bound = math.sqrt(6 / 48) / 30
        with torch.no_grad():
            self.first.weight.uniform_(-1 / 2, 1 / 2)
            self.second.weight.uniform_(-bound, bound)
            self.last.weight.uniform_(-bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.sin(30 * self.first(x))
        return self.last(torch.sin(30 * self.second(x)))


@healthy()
def sines_of_coordinates() -> Built:
    x = torch.rand(80, 2) * 2 - 1
    return Built(Physics(), (x,), torch.sin(5 * x[:, :1]) * torch.cos(3 * x[:, 1:]), "mse_loss")


class Seconds(nn.Module):
    """Time stamps that forward scales itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, stamp: torch.Tensor) -> torch.Tensor:
        day = (stamp - 1.7e9) / 86400.0
        return self.net(torch.cat([torch.sin(day), torch.cos(day), day / 100], 1))


@healthy()
def time_stamps_scaled_inside() -> Built:
    stamp = 1.7e9 + torch.randint(0, 8_000_000, (40, 1)).double()
    return Built(Seconds().double(), (stamp,), torch.sin(stamp / 86400.0), "mse_loss")


class Normalising(nn.Module):
    """Raw pixels, normalised by constants first."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([123.7, 116.3, 103.5]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([58.4, 57.1, 57.4]).view(3, 1, 1))
        self.net = nn.Sequential(nn.Conv2d(3, 12, 3, 2), nn.ReLU(), nn.Conv2d(12, 24, 3, 2), nn.ReLU())
        self.head = nn.Linear(24, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = (image.float() - self.mean) / self.std
        return self.head(self.net(x).mean((2, 3)))


@healthy()
def raw_pixels_normalised_inside() -> Built:
    image = torch.randint(0, 256, (12, 3, 20, 20), dtype=torch.uint8)
    return Built(Normalising(), (image,), classes(4, 12), "cross_entropy")


class Remember(nn.Module):
    """An LSTM with the forget gate's bias at one, over a long sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 24, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(48, 2)
        for name, parameter in self.lstm.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
                nn.init.ones_(parameter[24:48])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0].mean(1))


@healthy()
def two_way_lstm_with_open_forget_gates() -> Built:
    return Built(Remember(), (torch.randn(10, 40, 5),), classes(2, 10), "cross_entropy")


class Causal(nn.Module):
    """A causal convolution stack of a small WaveNet with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv1d(1, 16, 1)
        self.filters = nn.ModuleList([nn.Conv1d(16, 16, 2, dilation=2**i) for i in range(6)])
        self.gates = nn.ModuleList([nn.Conv1d(16, 16, 2, dilation=2**i) for i in range(6)])
        self.out = nn.Conv1d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        total = torch.zeros_like(x)
        step = 1
        for filtered, gate in zip(self.filters, self.gates):  # noqa: B905 - TorchScript knows no `strict`
            padded = F.pad(x, (step, 0))
            step *= 2
            h = torch.tanh(filtered(padded)) * torch.sigmoid(gate(padded))
            x, total = x + h, total + h
        return self.out(F.relu(total))


@healthy()
def small_wavenet() -> Built:
    x = torch.randn(6, 1, 80)
    return Built(Causal(), (x,), x.roll(-1, 2), "mse_loss")


class Spectral(nn.Module):
    """Mixes along time by a learnt complex filter (FNet, FNO)."""

    def __init__(self) -> None:
        super().__init__()
        self.real = nn.Parameter(torch.randn(9, 8) * 0.2)
        self.imaginary = nn.Parameter(torch.randn(9, 8) * 0.2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(x, dim=1) * torch.complex(self.real, self.imaginary)
        return self.head(F.gelu(torch.fft.irfft(spectrum, n=16, dim=1)).mean(1))


@healthy()
def learnt_filter_in_the_spectrum() -> Built:
    return Built(Spectral(), (torch.randn(12, 16, 8),), classes(3, 12), "cross_entropy")


class Pointer(nn.Module):
    """Points into its input; padding is masked with a large negative number."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.GRU(6, 24, batch_first=True)
        self.query = nn.Parameter(torch.randn(24) * 0.1)

    def forward(self, x: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        scores = self.encode(x)[0] @ self.query
        beyond = torch.arange(x.size(1)).unsqueeze(0) >= length.unsqueeze(1)
        return scores.masked_fill(beyond, -1e9)


@healthy()
def pointer_with_masked_padding() -> Built:
    length = 4 + classes(5, 16)
    return Built(Pointer(), (torch.randn(16, 9, 6), length), classes(4, 16), "cross_entropy")


class Segments(nn.Module):
    """A graph network with self-loops and mean messages."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        degree = torch.zeros(x.size(0)).index_add(0, target, torch.ones(target.size(0))).clamp(min=1).unsqueeze(1)
        for layer in self.layers:
            x = F.relu(layer(torch.zeros_like(x).index_add(0, target, x[source]) / degree + x))
        return self.head(x)


@healthy()
def graph_network_with_mean_messages() -> Built:
    inputs = (torch.randn(20, 8), torch.randint(20, (60,)), torch.randint(20, (60,)))
    return Built(Segments(), inputs, classes(3, 20), "cross_entropy")


class Patchy(nn.Module):
    """A masked autoencoder: most patches are dropped on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 32)
        self.mask = nn.Parameter(torch.randn(32) * 0.02)
        self.block = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True)
        self.out = nn.Linear(32, 16)

    def forward(self, patches: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        x = torch.where(hidden.unsqueeze(-1), self.mask, self.embed(patches))
        error = (self.out(self.block(x)) - patches).square().mean(-1)
        return (error * hidden).sum() / hidden.sum()


@healthy("trace")
def masked_patches() -> Built:
    hidden = torch.rand(8, 12) < 0.75
    return Built(Patchy(), (torch.randn(8, 12, 16), hidden), None, "model")
