"""Faulty models whose gradient is missing: detached, cut by an op without derivative, unused, frozen."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Encoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(12, width)
        self.second = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(F.gelu(self.first(x)))


class DetachedEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(24)
        self.head = nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.encoder(x).detach()
        return self.head(features)


ENCODER = ("encoder.first.weight", "encoder.second.weight", "encoder.second.bias")


@faulty(Expected("detached-graph", op="aten::detach", line="detach()"), "none")
def detached_encoder() -> Built:
    return Built(DetachedEncoder(), (torch.randn(16, 12),), classes(5, 16), "cross_entropy", suffers=ENCODER)


class NoGradEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(16)
        self.head = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = self.encoder(x)
        return self.head(features)


@faulty(Expected("detached-graph", module=("encoder.first", "encoder")), "none", "script")
def encoder_under_no_grad() -> Built:
    return Built(NoGradEncoder(), (torch.randn(8, 12),), torch.randn(8, 3), "mse_loss", suffers=ENCODER)


class DetachedState(nn.Module):
    """A recurrent cell whose memory is detached at every step: only the input path learns."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 20)
        self.recur = nn.Linear(20, 20)
        self.head = nn.Linear(20, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(x.shape[0], 20)
        for step in range(x.shape[1]):
            state = torch.tanh(self.embed(x[:, step]) + self.recur(state))
            state = state.detach()
        return self.head(state)


@faulty(Expected("detached-graph", op="aten::detach", line="state.detach()"), "none")
def recurrent_state_detached() -> Built:
    suffers = ("embed.weight", "recur.weight")
    return Built(DetachedState(), (torch.randn(8, 5, 6),), classes(2, 8), "cross_entropy", suffers=suffers)


class TwoTowers(nn.Module):
    """A siamese model; the second tower's own projection is detached."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 8))
        self.document = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 8))
        self.head = nn.Linear(1, 1)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        left = F.normalize(self.query(a), dim=1)
        right = F.normalize(self.document(b).detach(), dim=1)
        return self.head((left * right).sum(1, keepdim=True))


@faulty(Expected("detached-graph", op="aten::detach", line="self.document(b).detach()"), "none")
def one_tower_detached() -> Built:
    inputs = (torch.randn(12, 10), torch.randn(12, 10))
    suffers = ("document.0.weight", "document.2.bias")
    return Built(TwoTowers(), inputs, torch.randn(12, 1), "mse_loss", suffers=suffers)


class HardRouting(nn.Module):
    """Mixture of experts: the gate only enters through argmax."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 3)
        self.experts = nn.Parameter(torch.randn(3, 8, 4) / 8**0.5)
        self.bias = nn.Parameter(torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen = self.gate(x).argmax(dim=1)
        return torch.bmm(x.unsqueeze(1), self.experts[chosen]).squeeze(1) + self.bias


@faulty(Expected("non-differentiable-op", op="aten::argmax", line="argmax"), "none")
def gate_through_argmax() -> Built:
    suffers = ("gate.weight", "gate.bias")
    return Built(HardRouting(), (torch.randn(16, 8),), torch.randn(16, 4), "mse_loss", suffers=suffers)


class Thresholded(nn.Module):
    """A mask network whose scores become a comparison."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(10, 10)
        self.body = nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        keep = (self.score(x) > 0).float()
        return self.body(x * keep)


@faulty(Expected("non-differentiable-op", op="aten::gt", line="> 0"), "none")
def mask_by_comparison() -> Built:
    suffers = ("score.weight", "score.bias")
    return Built(Thresholded(), (torch.randn(16, 10),), classes(4, 16), "cross_entropy", suffers=suffers)


class Quantised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(9, 6)
        self.decode = nn.Linear(6, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        codes = torch.sigmoid(self.encode(x)) * 255
        return self.decode(codes.to(torch.int64).to(torch.float32) / 255)


@faulty(Expected("non-differentiable-op", op="aten::to", line="to(torch.int64)"), "none")
def codes_cast_to_integers() -> Built:
    x = torch.randn(16, 9)
    return Built(Quantised(), (x,), x.clone(), "mse_loss", suffers=("encode.weight", "encode.bias"))


class NearestCode(nn.Module):
    """VQ-VAE without the straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 4))
        self.codes = nn.Parameter(torch.randn(8, 4))
        self.decode = nn.Linear(4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encode(x)
        distance = (z.unsqueeze(1) - self.codes).square().sum(-1)
        nearest = distance.argmin(dim=1)
        return self.decode(self.codes[nearest])


@faulty(Expected("non-differentiable-op", op="aten::argmin", line="argmin"), "none")
def vector_quantiser_without_straight_through() -> Built:
    x = torch.randn(16, 10)
    return Built(NearestCode(), (x,), x.clone(), "mse_loss", suffers=("encode.0.weight", "encode.2.weight"))


class PredictedClass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).argmax(1).float()


@faulty(Expected("non-differentiable-op", op="aten::argmax"), "none")
def classes_instead_of_scores() -> Built:
    return Built(PredictedClass(), (torch.randn(8, 7),), torch.randn(8), "mse_loss", suffers=("body.weight",))


class ForgottenLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 12)
        self.middle = nn.Linear(12, 12)
        self.last = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(F.relu(self.first(x)))


@faulty(Expected("unused-parameter", module="middle"), "none")
def layer_never_called() -> Built:
    suffers = ("middle.weight", "middle.bias")
    return Built(ForgottenLayer(), (torch.randn(8, 6),), classes(3, 8), "cross_entropy", suffers=suffers)


class DiscardedBranch(nn.Module):
    """The residual branch is computed and then not added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.relu(self.stem(x))
        y = self.branch(x)
        return self.head(x.mean((2, 3))), y


@faulty(Expected("unused-parameter", module="branch"), "none")
def branch_computed_but_dropped() -> Built:
    suffers = ("branch.0.weight", "branch.2.weight")
    inputs = (torch.randn(4, 3, 8, 8),)
    return Built(DiscardedBranch(), inputs, classes(4, 4), "cross_entropy", suffers=suffers, output="0")


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6)
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) / 2.0


@faulty(Expected("unused-parameter", parameter="temperature"), "none")
def temperature_never_read() -> Built:
    return Built(Scaled(), (torch.randn(8, 6),), classes(6, 8), "cross_entropy", suffers=("temperature",))


class AllFrozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
        for parameter in self.parameters():
            parameter.requires_grad = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@faulty(Expected("frozen-parameter"), "untrainable")
def everything_frozen() -> Built:
    return Built(AllFrozen(), (torch.randn(8, 6),), classes(2, 8), "cross_entropy")
