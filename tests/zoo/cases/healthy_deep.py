"""Healthy deep networks: many normalised layers in either mode, waves, highways; and recurrences of a single step."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class Normed(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(16, 32)
        self.blocks = nn.Sequential(
            *[nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU()) for _ in range(depth)]
        )
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)))


@healthy()
def sixty_layers_with_batch_norm() -> Built:
    return Built(Normed(60), (torch.randn(64, 16),), classes(4, 64), "cross_entropy")


@healthy("script")
def forty_layers_with_batch_norm_that_has_settled() -> Built:
    model, x = Normed(40), torch.randn(64, 16)
    for each in model.modules():
        if isinstance(each, nn.BatchNorm1d):
            each.momentum = None
    with torch.no_grad():
        for _ in range(3):
            model(x)
    return Built(model.eval(), (x,), classes(4, 64), "cross_entropy")


class Wave(nn.Module):
    def __init__(self, before: int, after: int, bound: float | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after)
        if bound is not None:
            nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(30.0 * self.linear(x))


def plane() -> tuple[torch.Tensor, torch.Tensor]:
    side = torch.linspace(-1, 1, 20)
    grid = torch.stack(torch.meshgrid(side, side, indexing="ij"), dim=-1).reshape(-1, 2)
    return grid, torch.sin(4 * grid[:, :1]) * grid[:, 1:]


@healthy()
def waves_initialised_for_their_frequency() -> Built:
    grid, target = plane()
    hidden = [Wave(96, 96, math.sqrt(6 / 96) / 30) for _ in range(4)]
    return Built(nn.Sequential(Wave(2, 96, 0.5), *hidden, nn.Linear(96, 1)), (grid,), target, "mse_loss")


@healthy()
def waves_with_default_initialisation() -> Built:
    grid, target = plane()
    model = nn.Sequential(Wave(2, 96), Wave(96, 96), Wave(96, 96), Wave(96, 96), nn.Linear(96, 1))
    return Built(model, (grid,), target, "mse_loss")


@healthy()
def hundred_pre_normed_residual_layers() -> Built:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(24)
            self.up = nn.Linear(24, 48)
            self.down = nn.Linear(48, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.down(F.gelu(self.up(self.norm(x))))

    model = nn.Sequential(nn.Linear(10, 24), *[Block() for _ in range(50)], nn.LayerNorm(24), nn.Linear(24, 3))
    return Built(model, (torch.randn(24, 10),), classes(3, 24), "cross_entropy")


class Recurrent(nn.Module):
    """Steps with a cell from a state of zeros; a batch of single steps is what it is given while it warms up."""

    def __init__(self, *, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        self.into = nn.Linear(5, 36 if gated else 12)
        self.recur = nn.Linear(12, 36 if gated else 12)
        self.head = nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.size(0), 12)
        for step in range(x.size(1)):
            if self.gated:
                r, z, n = self.into(x[:, step]).chunk(3, dim=1)
                hr, hz, hn = self.recur(h).chunk(3, dim=1)
                z = torch.sigmoid(z + hz)
                h = (1 - z) * torch.tanh(n + torch.sigmoid(r + hr) * hn) + z * h
            else:
                h = torch.tanh(self.into(x[:, step]) + self.recur(h))
        return self.head(h)


@healthy()
def own_recurrence_on_a_single_step() -> Built:
    return Built(Recurrent(gated=False), (torch.randn(12, 1, 5),), torch.randn(12, 2), "mse_loss")


@healthy()
def own_gated_recurrence_on_a_single_step() -> Built:
    return Built(Recurrent(gated=True), (torch.randn(12, 1, 5),), torch.randn(12, 2), "mse_loss")


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTMCell(5, 12)
        self.gru = nn.GRUCell(12, 12)
        self.head = nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, c = torch.zeros(x.size(0), 12), torch.zeros(x.size(0), 12)
        top = torch.zeros(x.size(0), 12)
        for step in range(x.size(1)):
            h, c = self.lstm(x[:, step], (h, c))
            top = self.gru(h, top)
        return self.head(top)


@healthy()
def two_cells_on_a_single_step() -> Built:
    return Built(Cells(), (torch.randn(12, 1, 5),), torch.randn(12, 2), "mse_loss")
