"""Healthy models of many kinds, scripted and traced: no rule may raise its voice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from observed_models import FORMS, Form, alarms, observed

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Run:
    """A model, its batch and its loss."""

    model: nn.Module
    inputs: tuple[torch.Tensor, ...]
    target: torch.Tensor | None = None
    loss: str = ""
    output: str = ""


def classified(model: nn.Module, *inputs: torch.Tensor, classes: int = 3) -> Run:
    return Run(model, inputs, torch.arange(inputs[0].shape[0]) % classes, "cross_entropy")


def stack(depth: int, activation: type[nn.Module], *, width: int = 64, outputs: int = 3) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class PreNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.squeeze, self.excite, self.head = nn.Linear(16, 2), nn.Linear(2, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.norm(self.stem(x)))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return self.head((x * gate[:, :, None, None]).mean((2, 3)))


class LayerScale(nn.Module):
    """ConvNeXt's residual branches start at a millionth."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(16, 16)
        self.branches = nn.ModuleList(
            [nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16)) for _ in range(depth)]
        )
        self.scales = nn.ParameterList([nn.Parameter(torch.full((16,), 1e-6)) for _ in range(depth)])
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for branch, scale in zip(self.branches, self.scales):  # noqa: B905 - TorchScript knows no strict
            x = x + branch(x) * scale
        return self.head(x)


class CausalAttention(nn.Module):
    """A mask of -inf in a buffer, a key bias without gradient, sparse embedding rows."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(500, 32, padding_idx=0)
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.head = nn.Linear(32, 3)
        self.register_buffer("mask", torch.full((12, 12), float("-inf")).triu(1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / math.sqrt(32) + self.mask
        return self.head((x + torch.softmax(scores, -1) @ self.value(x)).mean(1))


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(5, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden, memory = torch.zeros(x.size(0), 16), torch.zeros(x.size(0), 16)
        for step in range(x.size(1)):
            hidden, memory = self.cell(x[:, step], (hidden, memory))
        return self.head(hidden)


class StraightThrough(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        soft = torch.sigmoid(self.encode(x))
        return self.decode(soft + (torch.round(soft) - soft).detach())


class StopGradientTarget(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
        self.predictor = nn.Linear(8, 8)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        a, b = self.encoder(one), self.encoder(other)
        return F.mse_loss(self.predictor(a), b.detach()) + F.mse_loss(self.predictor(b), a.detach())


class TargetNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
        self.target = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
        self.target.load_state_dict(self.online.state_dict())

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        goal = self.target(other).detach()
        return (self.online(one) - goal).pow(2).mean() * 1e-6


class Experts(nn.Module):
    """Top-1 routing: some experts get no sample."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.head = nn.Linear(8, 12), nn.Linear(8, 3)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)) for _ in range(12)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, chosen = torch.softmax(self.gate(x), -1).max(-1)
        mixed = x
        for number, expert in enumerate(self.experts):
            here = (chosen == number).nonzero().squeeze(1)
            if here.numel() > 0:
                mixed = mixed.index_add(0, here, expert(x[here]) * weight[here].unsqueeze(1))
        return self.head(mixed)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.scores, self.value = nn.Linear(8, 64), nn.Linear(64, 3), nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.body(x))
        return self.scores(hidden), self.value(hidden)


class SafeWhere(nn.Module):
    """NaN in the input is replaced before anything is made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(torch.nan_to_num(x))


def frozen_backbone() -> nn.Module:
    backbone = stack(2, nn.ReLU, outputs=16)
    backbone.requires_grad_(requires_grad=False)
    return nn.Sequential(backbone, nn.ReLU(), nn.Linear(16, 3))


def zero_head() -> nn.Module:
    head = nn.Linear(16, 3)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(stack(3, nn.GELU, outputs=16), nn.GELU(), head)


def sure_of_itself() -> Run:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[60.0, 0.0]]))
        layer.bias.zero_()
    model = nn.Sequential(layer, nn.Sigmoid())
    x = torch.cat([torch.full((8, 2), 1.0), torch.full((8, 2), -1.0)])
    return Run(model, (x,), (x[:, :1] > 0).float(), "binary_cross_entropy")


def convolutions() -> nn.Module:
    layers: list[nn.Module] = []
    for into, out in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 3))


def missing_values() -> torch.Tensor:
    x = torch.randn(8, 6)
    x[2, 3] = math.nan
    return x


HEALTHY: dict[str, Callable[[], Run]] = {
    "linear": lambda: Run(nn.Linear(6, 1), (torch.randn(16, 6),), torch.randn(16, 1), "mse_loss"),
    "relu_8": lambda: classified(stack(8, nn.ReLU), torch.randn(32, 64)),
    "tanh_8": lambda: classified(stack(8, nn.Tanh), torch.randn(32, 64)),
    "gelu_6_one_sample": lambda: classified(stack(6, nn.GELU), torch.randn(1, 64)),
    "sigmoid_3": lambda: classified(stack(3, nn.Sigmoid), torch.randn(32, 64)),
    "relu6_4": lambda: classified(stack(4, nn.ReLU6), torch.randn(32, 64)),
    "hardtanh_4": lambda: classified(stack(4, nn.Hardtanh), torch.randn(32, 64)),
    "cnn": lambda: classified(convolutions(), torch.randn(8, 3, 16, 16)),
    "residual_40": lambda: classified(
        nn.Sequential(*[PreNorm(24) for _ in range(40)], nn.Linear(24, 3)), torch.randn(16, 24)
    ),
    "squeeze_excite": lambda: classified(SqueezeExcite(), torch.randn(2, 3, 8, 8)),
    "layer_scale": lambda: classified(LayerScale(8), torch.randn(16, 16)),
    "attention": lambda: classified(CausalAttention(), torch.randint(0, 500, (4, 12))),
    "lstm_50": lambda: classified(Lstm(), torch.randn(4, 50, 5)),
    "straight_through": lambda: classified(StraightThrough(), torch.randn(16, 8)),
    "stop_gradient": lambda: Run(StopGradientTarget(), (torch.randn(8, 8), torch.randn(8, 8)), loss="model"),
    "target_network": lambda: Run(TargetNetwork(), (torch.randn(8, 8), torch.randn(8, 8)), loss="model"),
    "two_heads": lambda: Run(TwoHeads(), (torch.randn(8, 8),), torch.arange(8) % 3, "cross_entropy", "0"),
    "projection": lambda: Run(TwoHeads(), (torch.randn(8, 8),)),
    "frozen_backbone": lambda: classified(frozen_backbone(), torch.randn(16, 64)),
    "zero_head": lambda: classified(zero_head(), torch.randn(16, 64)),
    "converged": sure_of_itself,
    "missing_values": lambda: classified(SafeWhere(), missing_values()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", HEALTHY)
def test_silent(name: str, form: Form) -> None:
    torch.manual_seed(20)
    run = HEALTHY[name]()
    seen = observed(run.model, run.inputs, form, target=run.target, loss=run.loss, output=run.output)
    assert [] == alarms(seen)


@pytest.mark.parametrize("seed", [1, 20])
def test_silent_where_the_batch_passes_some_experts_by(seed: int) -> None:
    torch.manual_seed(seed)
    assert [] == alarms(
        observed(Experts(), (torch.randn(6, 8),), "script", target=torch.arange(6) % 3, loss="cross_entropy")
    )
