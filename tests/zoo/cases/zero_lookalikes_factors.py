"""Healthy models in which weights, gates, masks or states are zero, or copies are equal, as it should be."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class ZeroInitialised(nn.Module):
    """Zero-initialised head and residual scales, as in many a published recipe."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.scale = nn.Parameter(torch.zeros(1))
        self.mix = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 10)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(x + self.norm(self.conv(x)))
        x = x + self.scale * self.mix(x)
        return self.head(x.mean(dim=(2, 3)))


@healthy()
def zero_head_and_residual_scales() -> Built:
    return Built(ZeroInitialised(), (torch.randn(8, 3, 8, 8),), classes(4, 8), "cross_entropy")


class Adapted(nn.Module):
    """LoRA: the base is frozen, `down` is random, `up` is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(16, 16)
        self.base.requires_grad_(requires_grad=False)
        self.down = nn.Parameter(torch.randn(16, 4) * 0.1)
        self.up = nn.Parameter(torch.zeros(4, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.base(x) + (x @ self.down) @ self.up))


@healthy()
def low_rank_update_with_up_zero() -> Built:
    return Built(Adapted(), (torch.randn(16, 16),), classes(5, 16), "cross_entropy")


class Pruned(nn.Module):
    """Rows, and most of the rest, of a weight are pruned by a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(24, 12) * 0.2)
        mask = (torch.rand(24, 12) > 0.8).float()
        mask[:6] = 0.0
        self.register_buffer("mask", mask)
        self.head = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.gelu(F.linear(x, self.weight * self.mask)))


@healthy()
def pruned_weight() -> Built:
    return Built(Pruned(), (torch.randn(20, 12),), classes(3, 20), "cross_entropy")


class OneStep(nn.Module):
    """A recurrent model on sequences of one step: the state it starts from is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 10, batch_first=True)
        self.head = nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


@healthy()
def gru_on_one_step() -> Built:
    return Built(OneStep(), (torch.randn(16, 1, 6),), classes(4, 16), "cross_entropy")


class OwnCell(nn.Module):
    """A cell written by hand that gets its state as an input."""

    def __init__(self) -> None:
        super().__init__()
        self.fresh = nn.Linear(5, 36)
        self.state = nn.Linear(12, 36)
        self.head = nn.Linear(12, 2)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b, c = (self.fresh(x) + self.state(h)).chunk(3, dim=1)
        h = torch.sigmoid(a) * h + torch.sigmoid(b) * torch.tanh(c)
        return self.head(h), h


@healthy()
def own_cell_with_its_first_state() -> Built:
    inputs = (torch.randn(16, 5), torch.zeros(16, 12))
    return Built(OwnCell(), inputs, classes(2, 16), "cross_entropy", output="0")


class HardExperts(nn.Module):
    """Every expert runs, the gate lets one through: two of them get no sample of this batch."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(6, 5)
        self.experts = nn.ModuleList([nn.Linear(6, 6) for _ in range(5)])
        self.head = nn.Linear(6, 3)
        with torch.no_grad():
            self.router.bias[3:] = -50.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(self.router(x), dim=1)
        gate = weights * (weights >= weights.amax(dim=1, keepdim=True)).float()
        y = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            y = y + gate[:, i : i + 1] * F.relu(expert(x))
        return self.head(y)


@healthy()
def experts_without_a_sample() -> Built:
    return Built(HardExperts(), (torch.randn(32, 6),), classes(3, 32), "cross_entropy")


class MissingText(nn.Module):
    """The text of half of the samples is missing, and masked."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Linear(8, 10)
        self.text = nn.Linear(12, 10)
        self.head = nn.Linear(10, 3)

    def forward(self, image: torch.Tensor, text: torch.Tensor, has_text: torch.Tensor) -> torch.Tensor:
        return self.head(F.gelu(self.image(image) + self.text(text * has_text) * has_text))


@healthy()
def half_of_the_texts_missing() -> Built:
    has_text = (torch.arange(24) % 2).float().unsqueeze(1)
    inputs = (torch.randn(24, 8), torch.randn(24, 12), has_text)
    return Built(MissingText(), inputs, classes(3, 24), "cross_entropy")


class Tiled(nn.Module):
    """A depthwise filter that starts as the same blur for each channel; the channels tell them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.blur = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
        self.head = nn.Linear(6, 4)
        nn.init.constant_(self.blur.weight, 1 / 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.blur(F.relu(self.stem(x)))).mean(dim=(2, 3)))


@healthy()
def equal_depthwise_filters() -> Built:
    return Built(Tiled(), (torch.randn(8, 3, 8, 8),), classes(4, 8), "cross_entropy")


class ZeroHeadManyClasses(nn.Module):
    """A zero-initialised head for 50 classes, 4 of which occur in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(10, 24)
        self.head = nn.Linear(24, 50)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.body(x)))


@healthy()
def zero_head_for_classes_that_do_not_occur() -> Built:
    return Built(ZeroHeadManyClasses(), (torch.randn(16, 10),), classes(4, 16), "cross_entropy")


class Momentum(nn.Module):
    """A frozen copy that the learning part is compared with."""

    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 6))
        self.predict = nn.Linear(6, 6)
        self.target = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 6))
        self.target.load_state_dict(self.online.state_dict())
        self.target.requires_grad_(requires_grad=False)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        ours = F.normalize(self.predict(self.online(one)), dim=1)
        theirs = F.normalize(self.target(other), dim=1)
        return (2 - 2 * (ours * theirs).sum(dim=1)).mean()


@healthy()
def frozen_copy_as_a_target() -> Built:
    x = torch.randn(24, 8)
    return Built(Momentum(), (x + 0.1 * torch.randn(24, 8), x + 0.1 * torch.randn(24, 8)), None, "model")
